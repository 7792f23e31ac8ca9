"""Runs of every status, for the commands that read `outputs/`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolbox.core import atomic
from toolbox.core.manifest import sealed


@pytest.fixture
def toss(cli):
    return lambda *arguments: cli("coin", "toss", *arguments).folder


@pytest.fixture
def one_of_each(cli, toss, out, stop_at):
    """A complete, a diverged, an interrupted, a failed and a running run; name -> id."""
    ids = {"complete": toss("--tosses", 50).name}
    sgd = ("coin", "train", "--optimizer", "sgd", "--lr", 100, "--device", "cpu", "--quiet")
    ids["diverged"] = Path(cli(*sgd).stdout.strip()).name
    stop_at(0)
    cli("coin", "toss", "--seed", 5)
    stop_at(None)
    folder = out / "coin" / "toss"
    (stopped,) = folder.glob("*.checkpoint")
    ids["interrupted"] = stopped.stem
    manifest = json.loads((folder / ids["complete"] / "run.json").read_text())
    failed = sealed({**manifest, "status": "failed", "message": "no luck\nTraceback"})
    (folder / "fa11ed.failed.json").write_text(json.dumps(failed))
    running = atomic.temporary_sibling(folder / "a11fe")
    running.mkdir()
    del manifest["status"], manifest["ended"], manifest["wall_seconds"]
    (running / "run.json").write_text(json.dumps(sealed(manifest)))
    return {**ids, "failed": "fa11ed", "running": "a11fe"}
