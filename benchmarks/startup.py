"""Start-up: `toolbox --help` against the bare imports it stands on, and a run that is complete.

    python benchmarks/startup.py

Prints the median wall seconds of whole processes, taken in turn so that the machine's drift
cancels, and the ratios to the limits: `python -c "import typer, rich"` for help, one second for the
answer 'already complete'. The smallest Typer app shows what any Rich help page costs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

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


def seconds(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as out:
        toolbox = [sys.executable, "-m", "toolbox"]
        run = [*toolbox, "gd", "anytime", "--T", "10000", "--out", out]
        seconds(run)
        commands = {
            "import typer, rich": [sys.executable, "-c", "import typer, rich"],
            "smallest Typer app --help": [sys.executable, "-c", HELLO, "--help"],
            "toolbox --help": [*toolbox, "--help"],
            "gd anytime, already complete": run,
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, words in commands.items():
                taken[name].append(seconds(words))
    median = {name: statistics.median(times) for name, times in taken.items()}
    for name, value in median.items():
        print(f"{name:32s} {value:6.3f} s")
    base, hello = median["import typer, rich"], median["smallest Typer app --help"]
    print(f"toolbox --help / bare imports            {median['toolbox --help'] / base:5.2f}")
    print(f"toolbox --help / smallest Typer app      {median['toolbox --help'] / hello:5.2f}")
    print(f"already complete / 1 s                   {median['gd anytime, already complete']:5.2f}")


if __name__ == "__main__":
    main()
