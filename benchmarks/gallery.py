"""The gallery again from nothing: every command at `small`, then the pages of docs/results.

    python benchmarks/gallery.py                      # all studies; runs that are there are kept
    python benchmarks/gallery.py gd scb               # some of them
    python benchmarks/gallery.py --out /scratch/runs  # runs elsewhere than in outputs/

Prints first how long it should take: the measured times of `toolbox list`, on two quiet cores. The
same line after a stop goes on where it stopped, for runs that are complete are not made again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from toolbox.core.spec import selected, sound_studies
from toolbox.core.times import in_words

ROOT = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("studies", nargs="*", help="names of studies; all by default")
    parser.add_argument("--out", default="outputs", help="folder of the runs")
    parser.add_argument("--to", default=str(ROOT / "docs" / "results"), help="folder of the pages")
    parser.add_argument("--preset", default="small")
    asked = parser.parse_args()
    chosen = [each for study in asked.studies or sound_studies() for each in selected(study, None)]
    seconds = sum(spec.seconds.get(asked.preset, 0.0) for _, _, spec in chosen)
    print(f"{len(chosen)} commands, about {in_words(seconds)} on two cores", flush=True)
    toolbox, failed = [sys.executable, "-m", "toolbox"], []
    for study, command, _ in chosen:
        words = [study, command, "--preset", asked.preset, "--quiet", "--out", asked.out]
        print(f"toolbox {study} {command}", flush=True)
        if subprocess.run([*toolbox, *words], check=False).returncode not in (0, 1):
            failed.append(f"{study} {command}")
    for line in failed:
        print(f"did not end: toolbox {line}", file=sys.stderr)
    pages = ["report", "--markdown", asked.to, "--out", asked.out]
    several = [[study] for study in asked.studies] or [[]]
    codes = [
        subprocess.run([*toolbox, *pages, *study], check=False).returncode for study in several
    ]
    return int(bool(failed) or any(codes))


if __name__ == "__main__":
    sys.exit(main())
