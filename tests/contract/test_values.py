"""What a parameter takes: refused by the parser where it never can be, else answered by the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolbox.app import run
from toolbox.core.options import SHARED_PARAMS
from toolbox.core.params import Param

from .harness import Case

NEVER = ("nan", "-nan", "inf", "-inf", "1e400", "many", "", " ", "1_0", "0x10", "true", "1;2")
SMALL = ("0", "-1")


def numeric(case: Case) -> list[Param]:
    own = [param for param in case.params.values() if param.kind in (int, float)]
    return own + list(SHARED_PARAMS.values())


@pytest.mark.parametrize("text", NEVER)
def test_no_number_is_made_of_it(case: Case, text: str) -> None:
    """On the parser that flags, environment, presets and files all pass through."""
    for param in numeric(case):
        with pytest.raises(ValueError, match="expected"):
            param.parse(text)


def test_a_command_line_refuses_it_in_one_sentence(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    param = numeric(case)[0]
    for text in ("nan", "many", ""):
        assert run([*case.words, "--out", str(tmp_path), param.flag, text]) == 2
        said = capsys.readouterr().err
        assert param.flag in said
        assert len(said.strip().splitlines()) == 1, said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", SMALL)
def test_zero_and_minus_one_are_computed_or_refused_in_one_sentence(
    case: Case, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for param in numeric(case):
        try:
            param.parse(text)
        except ValueError:
            continue  # its bounds refuse it
        argv = [*case.words, "--preset", "smoke", "--quiet", "--out", str(tmp_path)]
        code = run([*argv, param.flag, text])
        said = capsys.readouterr().err
        # 1: a number that is allowed may make the experiment diverge, which it says.
        assert code in (0, 2) or (code == 1 and "diverged" in said), (param.flag, text, said)
        if code == 2:
            assert param.flag in said, said
            assert len(said.strip().splitlines()) == 1, said
