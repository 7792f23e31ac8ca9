"""The contract itself: studies that break a promise, one each, must fail it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolbox.studies
from toolbox.app import run
from toolbox.core import signals
from toolbox.core.errors import UsageError

from . import test_contract, test_divergence, test_stops
from .harness import Boundaries, Case, folder_of, registered

TOY = Path(__file__).parents[1] / "toys" / "coin"
Broken = Callable[..., Case]
DEAF = """
    end = time.process_time() + 8
    while time.process_time() < end:
        pass
"""


@pytest.fixture
def broken(studies: Callable[..., Path]) -> Any:
    """A copy of the toy with parts of its files exchanged: broken("train", "toss", old, new)."""

    def make(part: str, command: str, *changes: tuple[str, str]) -> Case:
        name = "study.yaml" if part == "study" else f"{part}.py"
        text = (TOY / name).read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        studies("broken", **{part: text})
        registered.cache_clear()
        return Case("broken", command)

    yield make
    registered.cache_clear()


@pytest.fixture
def smoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], Any]:
    """The smoke run of a command: (its outputs, its folder, how many boundaries it had)."""

    def make(case: Case) -> Any:
        counter = Boundaries()
        with monkeypatch.context() as patched:
            patched.setattr(signals, "asked", counter.asked)
            argv = [*case.words, "--preset", "smoke", "--quiet", "--out", str(tmp_path / "smoke")]
            assert run(argv) == 0
        return tmp_path / "smoke", folder_of(case, tmp_path / "smoke"), {case: counter.count}

    return make


def test_the_toy_itself_keeps_it(
    broken: Broken, smoked: Any, boundaries: Boundaries, tmp_path: Path, capsys: Any
) -> None:
    case = broken("toss", "toss")
    out, folder, counted = smoked(case)
    test_contract.test_smoke_tables_are_as_declared(case, folder, out)
    test_contract.test_its_flags_import_nothing_heavy(case)
    test_stops.test_a_run_has_step_boundaries(case, folder, counted)
    test_stops.test_a_stop_is_heard_at_the_default_size(case, boundaries, tmp_path / "small")
    boundaries.on_boundary = lambda: False
    test_stops.test_stopped_at_its_first_middle_and_last_boundary_it_resumes_byte_for_byte(
        case, folder, counted, boundaries, tmp_path / "stops", capsys
    )


def test_a_study_that_never_looks_for_a_stop_fails(broken: Broken, smoked: Any) -> None:
    case = broken("toss", "toss", ("run.replicates()", "range(run.repeats)"))
    _, folder, counted = smoked(case)
    with pytest.raises(AssertionError, match="never looks for a stop"):
        test_stops.test_a_run_has_step_boundaries(case, folder, counted)


def test_a_study_that_is_deaf_between_two_steps_fails(
    broken: Broken, boundaries: Boundaries, tmp_path: Path
) -> None:
    case = broken(
        "toss", "toss", ("from toolbox", "import time\n\nfrom toolbox"),
        ("        heads =", DEAF.replace("\n    ", "\n        ") + "        heads ="),
    )  # fmt: skip
    with pytest.raises((AssertionError, pytest.fail.Exception), match="stop was heard"):
        test_stops.test_a_stop_is_heard_at_the_default_size(case, boundaries, tmp_path)


@pytest.mark.parametrize("forgotten", ["opt, ", "noise, ", "w, "])
def test_a_study_that_forgets_a_state_at_a_stop_fails(
    broken: Broken, smoked: Any, boundaries: Boundaries, tmp_path: Path, capsys: Any, forgotten: str
) -> None:
    states = "w, opt, noise, "
    case = broken("train", "train", (states, states.replace(forgotten, "")))
    _, folder, counted = smoked(case)
    with pytest.raises(AssertionError, match="stopped at boundary"):
        test_stops.test_stopped_at_its_first_middle_and_last_boundary_it_resumes_byte_for_byte(
            case, folder, counted, boundaries, tmp_path / "stops", capsys
        )


def test_a_figure_that_names_no_claim_fails(broken: Broken) -> None:
    case = broken("study", "toss", ("title: Shares of heads", "claim: unfair\n        title: S"))
    with pytest.raises(UsageError, match="undeclared claim 'unfair'"):
        test_contract.test_presets_hold_to_the_signature(case)


@pytest.mark.parametrize("line", ["import numpy", "from .train import np"])
def test_a_heavy_import_beside_the_flags_fails(broken: Broken, line: str) -> None:
    first = "@dataclass(frozen=True)\nclass Train"
    case = broken("cli", "toss", (first, f"{line}\n\n\n{first}"))
    if line.startswith("from"):  # the module that it takes from is not to import this one
        path = Path(toolbox.studies.__path__[-1]) / "broken" / "train.py"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("from .cli import Train\n", "Train = object\n"))
    with pytest.raises(AssertionError, match="numpy"):
        test_contract.test_its_flags_import_nothing_heavy(case)


@pytest.mark.parametrize(
    ("part", "old", "new", "said"),
    [
        ("toss", '"side": list(p.sides)', '"side": ["head", "head"]', "two rows for one"),
        ("study", "role: parameter, type: str", "role: metric, type: str", "two rows for one"),
    ],
)
def test_a_row_that_nothing_identifies_fails(
    broken: Broken, smoked: Any, part: str, old: str, new: str, said: str
) -> None:
    case = broken(part, "toss", (old, new))
    out, folder, _ = smoked(case)
    with pytest.raises(AssertionError, match=said):
        test_contract.test_smoke_tables_are_as_declared(case, folder, out)


def test_a_row_with_no_name_at_all_fails(broken: Broken, smoked: Any, studies: Any) -> None:
    text = (TOY / "study.yaml").read_text(encoding="utf-8")
    spec = text.replace("role: parameter, type: str", "role: parameter, type: str, optional: true")
    toss = (TOY / "toss.py").read_text(encoding="utf-8")
    studies("broken", study=spec, toss=toss.replace("list(p.sides)", '["head", None]'))
    registered.cache_clear()
    case = Case("broken", "toss")
    out, folder, _ = smoked(case)
    with pytest.raises(AssertionError, match="nothing identifies"):
        test_contract.test_smoke_tables_are_as_declared(case, folder, out)


def test_a_training_that_hides_its_divergence_fails(
    broken: Broken, boundaries: Boundaries, tmp_path: Path, capsys: Any
) -> None:
    import re

    text = (TOY / "train.py").read_text(encoding="utf-8")
    checks = re.findall(r" *run\.(?:check_finite|finite|diverged)\([^\n]*\n", text)
    assert checks
    case = broken("train", "train", *((each, "") for each in checks))
    with pytest.raises(AssertionError, match="nothing is marked as diverged"):
        test_divergence.test_a_rate_at_its_bound_ends_as_diverged_with_its_step_and_rows(
            case, boundaries, tmp_path, capsys
        )
