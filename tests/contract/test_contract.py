"""The contract that every command keeps, tried in process on its smoke preset."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import toolbox.studies
from toolbox.app import run
from toolbox.core import claims
from toolbox.core.options import SHARED_PARAMS
from toolbox.core.pools import Pool, pools_of
from toolbox.core.presets import preset_values

from .harness import HEAVY, Case, folder_of, manifest, tables


def pool_of(case: Case, out: Path) -> Pool:
    (pool,) = pools_of(out, case.study, case.command)
    return pool


def test_presets_hold_to_the_signature(case: Case) -> None:
    for preset in case.spec.presets:
        preset_values(case.study, case.command, preset, {**case.params, **SHARED_PARAMS})


LONGER = {"tape finetune": 300, "marl shift": 200}
"""Seconds of `small` beyond two minutes: three base models with eight adaptations of each; sixty
games, measured on a busy machine."""


def test_measured_times_are_given_for_smoke_and_small(case: Case) -> None:
    if case.study != "coin":
        assert {"smoke", "small"} <= set(case.spec.seconds)
        assert case.spec.seconds["small"] <= LONGER.get(str(case), 150)


def test_smoke_tables_are_as_declared(case: Case, smoke: Path, smoke_out: Path) -> None:
    record = manifest(smoke)
    assert record["status"] == "complete"
    assert set(record["tables"]) == set(case.spec.tables)
    for name, table in case.spec.tables.items():
        frame = pool_of(case, smoke_out).runs[0].read(name, case.spec)
        assert list(frame.columns) == list(table.all_columns)
        assert len(frame) == record["tables"][name]["rows"] > 0
        for column, spec in table.all_columns.items():
            if not spec.optional and spec.type != "float":
                assert frame[column].notna().all(), column
        index = [c for c, s in table.all_columns.items() if s.role != "metric"]
        assert not frame.duplicated(index).any(), f"{name}: two rows for one {index}"
        own = [column for column in index if column not in ("seed", "repeat")]
        if own:
            assert not frame[own].isna().all(axis=1).any(), f"{name}: a row that nothing identifies"


def test_its_flags_import_nothing_heavy(one: Case) -> None:
    """Alone in a process: what `cli.py` imports, help and completion wait for."""
    script = f"""
import sys, toolbox.studies
toolbox.studies.__path__[:] = {list(toolbox.studies.__path__)!r}
import toolbox.studies.{one.study}.cli
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & HEAVY


def test_another_seed_gives_other_numbers(case: Case, smoke: Path, tmp_path: Path) -> None:
    """That the same seed gives the same bytes is tried in another process, of another locale:
    `test_process.test_the_same_bytes_in_another_process_locale_and_time_zone`."""
    argv = [*case.words, "--preset", "smoke", "--quiet", "--out", str(tmp_path)]
    assert run([*argv, "--seed", "12345"]) == 0
    other = folder_of(case, tmp_path)
    assert tables(other) != tables(smoke)
    differs = any(_numbers(other / name) != _numbers(smoke / name) for name in tables(smoke))
    assert differs is not case.spec.deterministic


def _numbers(path: Path) -> str:
    return pd.read_csv(path).drop(columns=["seed"]).to_csv()


def test_a_replicate_does_not_depend_on_how_many_ran_beside_it(
    case: Case, smoke: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if case.spec.deterministic:
        argv = [*case.words, "--preset", "smoke", "--quiet", "--out", str(tmp_path)]
        assert run([*argv, "--repeats", "2"]) == 2
        return
    more = tables(folder_of(case, request.getfixturevalue("several")))
    alone = manifest(smoke)["params"]["repeats"]["value"]
    for name, text in tables(smoke).items():
        first, *rows = more[name].splitlines()
        shared = [first, *(row for row in rows if int(row.split(b",")[1]) < alone)]
        assert sorted(shared) == sorted(text.splitlines()), name


def test_asked_twice_it_answers_already_complete(
    case: Case, smoke: Path, smoke_out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (smoke / "run.json").stat().st_mtime_ns
    code = run([*case.words, "--preset", "smoke", "--out", str(smoke_out)])
    assert code == 0
    shown = capsys.readouterr()
    assert "already complete" in shown.err
    assert (smoke / "run.json").stat().st_mtime_ns == before


def test_every_claim_evaluates(case: Case, smoke: Path, smoke_out: Path) -> None:
    pool = pool_of(case, smoke_out)
    verdicts = claims.judge(case.study, case.spec, pool.params, pool.evidence)
    assert [verdict.claim for verdict in verdicts] == list(case.spec.claims)


def test_every_statistic_reads_the_smoke_tables(case: Case, smoke: Path, smoke_out: Path) -> None:
    """Also those whose claim needs a larger scale to decide."""
    pool = pool_of(case, smoke_out)
    free = {
        key: claim.model_copy(update={"requires": None, "applies": None})
        for key, claim in case.spec.claims.items()
    }
    spec = case.spec.model_copy(update={"claims": free})
    for verdict in claims.judge(case.study, spec, pool.params, pool.evidence):
        assert verdict.replicates >= 1


def test_every_figure_renders(
    case: Case, smoke: Path, smoke_out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not case.spec.figures:
        pytest.fail("a command without a figure cannot be seen")
    code = run(["plot", *case.words, "--out", str(smoke_out), "--format", "svg"])
    paths = capsys.readouterr().out.split()
    assert code == 0
    assert {Path(path).stem for path in paths} == set(case.spec.figures)
    assert all(Path(path).stat().st_size > 2000 for path in paths)


def test_every_figure_draws_in_a_terminal(
    case: Case, smoke: Path, smoke_out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plot", *case.words, "--out", str(smoke_out), "--terminal"]) == 0
    drawn = capsys.readouterr().out
    assert len(drawn.splitlines()) > 3
    assert "\x1b" not in drawn


def test_a_table_cut_by_one_byte_is_refused_by_name(
    case: Case, smoke: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(smoke, tmp_path / case.study / case.command / smoke.name)
    used = {figure.table for figure in case.spec.figures.values()}
    for name in sorted(used):
        path = folder_of(case, tmp_path) / f"{name}.csv"
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        capsys.readouterr()
        assert run(["plot", *case.words, "--out", str(tmp_path), "--format", "svg"]) == 1
        assert f"{name}.csv" in capsys.readouterr().err
        path.write_bytes(whole)
    decidable = [c for c in case.spec.claims.values() if c.requires is None]
    if decidable:
        path = folder_of(case, tmp_path) / f"{next(iter(case.spec.tables))}.csv"
        path.write_bytes(path.read_bytes()[:-1])
        assert run(["verify", *case.words, "--out", str(tmp_path)]) == 1
        assert path.name in capsys.readouterr().err


def test_config_files_are_held_to_the_signature(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(iter(case.params))
    for text, expected in (
        ("nonsense: 1\n", "nonsense"),
        (f"{name}: {{a: 1}}\n", name),
        (f"{name}: 1\n{name}: 2\n", "duplicate"),
    ):
        config = tmp_path / "config.yaml"
        config.write_text(text)
        code = run([*case.words, "--config", str(config), "--out", str(tmp_path)])
        said = capsys.readouterr().err
        assert code == 2
        assert expected in said
        assert f"{config}:" in said
