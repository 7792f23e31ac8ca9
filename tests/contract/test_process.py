"""The part of the contract where the process itself is what is tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .harness import (
    HEAVY,
    MOUNTED,
    ROOT,
    Case,
    cases,
    finish,
    folder_of,
    fork,
    litter,
    manifest,
    registered,
    some_share,
    start,
    tables,
    wait_for_work,
)


def test_help_is_light_and_shows_every_flag() -> None:
    """One process asks for every help page, so that this stays quick with ten studies."""
    pages = [[], *([study] for study, _ in registered()), *(case.words for case in cases())]
    script = f"""
import contextlib, io, json, sys
{MOUNTED}
from toolbox.app import run
pages = []
for words in {pages!r}:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert run([*words, "--help"]) == 0
    pages.append(text.getvalue())
print(json.dumps([pages, sorted(set(sys.modules) & {HEAVY!r})]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
    )
    import json

    shown, heavy = json.loads(done.stdout)
    assert heavy == []
    for page, case in zip(shown[-len(cases()) :], cases(), strict=True):
        for param in case.params.values():
            assert re.search(rf"{param.flag}\b", page), (case, param.flag)
            if not param.many and param.kind is not bool:
                default = param.text(param.default) or "empty"
                shown = " ".join(page.replace("│", " ").split())
                assert f"{param.values}; default: {default}." in shown, (case, param.flag)
        for flag in (
            *("--preset", "--config", "--seed", "--repeats", "--device", "--threads"),
            *("--out", "--scratch", "--again", "--allow-costly", "--json", "--quiet"),
        ):
            assert flag in page, (case, flag)


def test_the_same_bytes_in_another_process_locale_and_time_zone(
    one: Case, smoke_of: Callable[[Case], Path], tmp_path: Path
) -> None:
    """All commands of a study once more, one after the other in one process, into a pipe."""
    commands = [case for case in cases() if case.study == one.study]
    lines = [[*case.words, "--preset", "smoke", "--out", str(tmp_path)] for case in commands]
    script = f"""
import sys
{MOUNTED}
from toolbox.app import run
sys.exit(max(run(words) for words in {lines!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "de_DE.UTF-8",
            "TZ": "Asia/Kathmandu",
            "FORCE_COLOR": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    for case, folder in zip(commands, map(Path, done.stdout.split()), strict=True):
        assert folder.name == smoke_of(case).name
        assert tables(folder) == tables(smoke_of(case)), case


def test_a_pipe_closed_early_gives_no_traceback(one: Case, smoke_out: Path, smoke: Path) -> None:
    lines = [[*one.words, "--preset", "smoke", "--json"]]
    if one.study == "coin":  # these are the same for all studies
        lines += [["show", smoke.name], ["list"]]
    for words in lines:
        with start(*words, out=smoke_out) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            said = process.stderr.read()
        assert "Traceback" not in said
        assert "BrokenPipe" not in said


def test_killed_at_a_random_moment_it_leaves_nothing_under_a_final_name(
    one: Case, smoke: Path, tmp_path: Path
) -> None:
    case, argv = one, [*one.words, "--preset", "smoke"]
    process = fork(*argv, out=tmp_path)
    wait_for_work(process, tmp_path, case)
    time.sleep(some_share(case) * manifest(smoke)["wall_seconds"])
    process.kill()
    finish(process)
    for folder in (tmp_path / case.study / case.command).glob("[0-9a-f]*"):
        assert tables(folder) == tables(smoke)
    assert finish(fork(*argv, out=tmp_path))[0] == 0
    assert tables(folder_of(case, tmp_path)) == tables(smoke)
    code, _, _ = finish(fork("clean", "--yes", out=tmp_path))
    assert code == 0
    assert litter(tmp_path) == []
    assert tables(folder_of(case, tmp_path)) == tables(smoke)


def test_eight_at_once_leave_one_valid_folder(one: Case, smoke: Path, tmp_path: Path) -> None:
    case = one
    processes = [fork(*case.words, "--preset", "smoke", out=tmp_path) for _ in range(8)]
    done = [finish(process, timeout=240) for process in processes]
    assert [code for code, _, _ in done] == [0] * 8, [stderr for _, _, stderr in done]
    assert len({stdout for _, stdout, _ in done}) == 1
    assert tables(folder_of(case, tmp_path)) == tables(smoke)
    assert litter(tmp_path) == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """A file system of 64 KiB (as root), on which no run of ours fits beside the filler."""
    where = tmp_path / "small"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(where)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root; test_execute simulates ENOSPC instead")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_full_disk_is_one_sentence_and_keeps_old_results(
    one: Case, smoke: Path, full_disk: Path
) -> None:
    case = one
    old = full_disk / case.study / case.command / smoke.name
    if sum(path.stat().st_size for path in smoke.iterdir()) < 48_000:
        shutil.copytree(smoke, old)
    with (full_disk / "filler").open("wb", buffering=0) as filler:
        for size in (4096, 512, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue
    before = tables(old) if old.exists() else {}
    code, stdout, stderr = finish(fork(*case.words, "--preset", "smoke", "--again", out=full_disk))
    assert code == 1, stderr
    assert stdout == ""
    assert "cannot write" in stderr
    assert "Traceback" not in stderr
    assert not before or tables(old) == before


def test_front_door_from_a_clean_folder(tmp_path: Path) -> None:
    """`python -m toolbox` works from anywhere and leaves nothing behind when nothing is asked."""
    done = subprocess.run(
        [sys.executable, "-m", "toolbox", "runs"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
