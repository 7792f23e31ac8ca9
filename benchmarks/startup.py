"""Start-up: help pages against the smallest Typer app, and a run that is complete.

    python benchmarks/startup.py

Prints the median seconds of whole processes, taken in turn so that the machine's drift cancels, and
the ratios to the limits: the smallest Typer app with Rich help for `toolbox --help`, with the
studies that are here and with fifty more (its bound is 1.4), and one second for the answer
'already complete'. Processor time, because other work on the machine does not change it.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
HELLO = """
import typer
app = typer.Typer()
@app.command()
def a(x: int = 1): pass
@app.command()
def b(x: int = 1): pass
app()
"""


MANY = """
import sys, toolbox.studies
toolbox.studies.__path__.append(sys.argv.pop(1))
from toolbox.app import run
run(sys.argv[1:])
"""


def generate(count: int, place: Path) -> None:
    """Studies that have a sentence and nothing else."""
    for number in range(count):
        folder = place / f"study{number:02d}"
        folder.mkdir()
        (folder / "study.yaml").write_text("title: Generated\n", encoding="utf-8")
        text = f'"""Generated study {number}: a sentence of the usual length about its paper."""\n'
        (folder / "cli.py").write_text(text, encoding="utf-8")


def seconds(words: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one process."""
    started, before = time.perf_counter(), used_by_children()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - started, used_by_children() - before


def used_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as more:
        generate(50, Path(more))
        toolbox = [sys.executable, "-m", "toolbox"]
        run = [*toolbox, "gd", "anytime", "--T", "10000", "--out", out]
        seconds(run)
        commands = {
            "import typer, rich": [sys.executable, "-c", "import typer, rich"],
            "smallest Typer app --help": [sys.executable, "-c", HELLO, "--help"],
            "toolbox --help": [*toolbox, "--help"],
            "toolbox --help, 50 studies more": [sys.executable, "-c", MANY, more, "--help"],
            "toolbox gd anytime --help": [*toolbox, "gd", "anytime", "--help"],
            "gd anytime, already complete": run,
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, words in commands.items():
                taken[name].append(seconds(words))
    wall = {name: statistics.median(w for w, _ in times) for name, times in taken.items()}
    cpu = {name: statistics.median(c for _, c in times) for name, times in taken.items()}
    for name in commands:
        print(f"{name:32s} {wall[name]:6.3f} s   processor {cpu[name]:6.3f} s")
    hello = cpu["smallest Typer app --help"]
    for name in list(commands)[2:5]:
        print(f"{name + ' / smallest app':46s} {cpu[name] / hello:5.2f}")
    print(f"{'already complete / 1 s':46s} {wall['gd anytime, already complete']:5.2f}")


if __name__ == "__main__":
    main()
