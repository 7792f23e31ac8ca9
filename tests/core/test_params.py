"""A parameter means the same wherever it is written, and its hash names the run."""

import json
import math
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.app import run
from toolbox.core import answer
from toolbox.core.options import SHARED_PARAMS
from toolbox.core.params import Param, canonical_json, params_of, run_id
from toolbox.core.studies import registered

COUNT = Param("count", int, 1, "", bounds=(Ge(1), Le(10**6)))
ANY_INT = Param("n", int, 0, "")
RATE = Param("rate", float, 0.1, "", bounds=(Gt(0), Lt(10)))
ANY_FLOAT = Param("x", float, 0.0, "")
FLAG = Param("flag", bool, False, "")
WORD = Param("word", str, "a", "")
CHOICE = Param("choice", str, "adam", "", choices=("adam", "sgd"))
COUNTS = Param("counts", int, (1,), "", many=True, bounds=(Ge(1),))
RATES = Param("rates", float, (1.0,), "", many=True)
WORDS = Param("words", str, ("a",), "", many=True)
CHOICES = Param("choices", str, ("adam",), "", many=True, choices=("adam", "sgd"))


@pytest.mark.parametrize(
    ("param", "given_value", "parsed"),
    [
        (COUNT, "10", 10),
        (COUNT, " 10 ", 10),
        (COUNT, "+10", 10),
        (COUNT, "1e4", 10_000),
        (COUNT, 1e4, 10_000),
        (COUNT, "010", 10),
        (ANY_INT, "-3", -3),
        (ANY_INT, 10**400, 10**400),
        (ANY_INT, str(2**63 + 1), 2**63 + 1),
        (RATE, "1e-3", 0.001),
        (RATE, 1, 1.0),
        (ANY_FLOAT, "-0.0", 0.0),
        (FLAG, True, True),
        (WORD, "", ""),
        (WORD, "a,b", "a,b"),
        (CHOICE, "sgd", "sgd"),
        (COUNTS, "1,2, 3,", (1, 2, 3)),
        (COUNTS, [1, "2"], (1, 2)),
        (COUNTS, 4, (4,)),
        (RATES, (1, 0.5), (1.0, 0.5)),
        (WORDS, "a, b", ("a", "b")),
        (CHOICES, "sgd,adam", ("sgd", "adam")),
    ],
)
def test_a_value_is_parsed_to_the_declared_type(param, given_value, parsed):
    result = param.parse(given_value)
    assert result == parsed
    assert repr(result) == repr(parsed)  # 1 is not 1.0, and 0.0 is not -0.0


@pytest.mark.parametrize(
    ("param", "wrong"),
    [
        (COUNT, "ten"),
        (COUNT, "0"),
        (COUNT, 10**6 + 1),
        (COUNT, "1.5"),
        (COUNT, 1.5),
        (COUNT, True),
        (COUNT, None),
        (COUNT, "--5"),
        (COUNT, ""),
        (COUNT, "nan"),
        (COUNT, math.inf),
        (COUNT, "1e400"),
        (ANY_INT, "1e17"),
        (ANY_INT, "9" * 5000),
        (ANY_INT, [1]),
        (RATE, "0"),
        (RATE, 10),
        (RATE, "nan"),
        (RATE, math.nan),
        (RATE, "inf"),
        (RATE, False),
        (ANY_FLOAT, "1e400"),
        (ANY_FLOAT, 10**400),
        (ANY_FLOAT, "-infinity"),
        (ANY_FLOAT, {"a": 1}),
        (FLAG, "true"),
        (FLAG, 1),
        (WORD, 1),
        (WORD, None),
        (CHOICE, "rmsprop"),
        (CHOICE, "ADAM"),
        (COUNTS, ""),
        (COUNTS, []),
        (COUNTS, "1,0"),
        (COUNTS, "1,1"),
        (COUNTS, [1, "1e0"]),
        (COUNTS, [[1, 2]]),
        (COUNTS, None),
        (WORDS, ["a,b"]),
        (WORDS, [" a"]),
        (WORDS, [""]),
        (CHOICES, "adam,rmsprop"),
    ],
)
def test_what_does_not_fit_is_refused_saying_what_was_expected(param, wrong):
    with pytest.raises(ValueError, match=r"^expected .*, got "):
        param.parse(wrong)


def test_the_expectation_names_type_range_and_choices():
    assert COUNT.expectation == "an integer >= 1 and <= 1e+06"
    assert RATE.expectation == "a finite number > 0 and < 10"
    assert CHOICES.expectation == "a list, each one of adam, sgd"


simple_words = st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1).filter(
    lambda word: word == word.strip()
)


@settings(max_examples=40, deadline=None)
@given(
    case=st.one_of(
        st.tuples(st.just(ANY_INT), st.integers()),
        st.tuples(st.just(ANY_FLOAT), st.floats(allow_nan=False, allow_infinity=False)),
        st.tuples(st.just(WORD), st.text()),
        st.tuples(st.just(CHOICE), st.sampled_from(CHOICE.choices)),
        st.tuples(st.just(COUNTS), st.lists(st.integers(1), min_size=1, unique=True)),
        st.tuples(
            st.just(RATES),
            st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, unique=True),
        ),
        st.tuples(st.just(WORDS), st.lists(simple_words, min_size=1, unique=True)),
    )
)
def test_what_text_writes_parse_reads_back(case):
    param, value = case
    parsed = param.parse(value)
    assert param.parse(param.text(parsed)) == parsed


@settings(max_examples=40, deadline=None)
@given(
    params=st.dictionaries(
        st.text(), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False)), max_size=5
    )
)
def test_canonical_json_and_id_do_not_depend_on_the_order_of_keys(params):
    params = {k: v for k, v in params.items() if v not in (math.inf, -math.inf)}
    turned = dict(reversed(params.items()))
    assert canonical_json(params) == canonical_json(turned)
    assert run_id("s", "c", params) == run_id("s", "c", turned)


def test_canonical_json_has_no_nan_and_no_spaces():
    assert canonical_json({"b": (1, 2.0), "a": "ü"}) == '{"a":"\\u00fc","b":[1,2.0]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": math.nan})


BASE: dict[str, Any] = {"T": 1000, "lr": 0.001, "kinds": ("a", "b"), "fast": True, "seed": 0}


def test_the_id_of_a_run_never_changes():
    # Pinned: another hash would orphan every folder that users have.
    assert run_id("gd", "anytime", BASE) == "5d40e2cad00f"


@pytest.mark.parametrize(
    ("study", "command", "changed"),
    [
        ("sgd", "anytime", {}),
        ("gd", "any", {}),
        ("gd", "anytime", {"T": 1001}),
        ("gd", "anytime", {"T": 1000.0}),
        ("gd", "anytime", {"lr": math.nextafter(0.001, 1)}),
        ("gd", "anytime", {"kinds": ("b", "a")}),
        ("gd", "anytime", {"kinds": ("a,b",)}),
        ("gd", "anytime", {"fast": False}),
        ("gd", "anytime", {"seed": 1}),
        ("gd", "anytime", {"new": 0}),
    ],
)
def test_whatever_changes_a_number_changes_the_id(study, command, changed):
    assert run_id(study, command, {**BASE, **changed}) != run_id("gd", "anytime", BASE)


def test_a_number_has_one_id_however_it_was_written():
    ids = {run_id("gd", "anytime", {"lr": RATE.parse(v)}) for v in ("1e-3", "0.001", 0.001, ".001")}
    assert len(ids) == 1
    zeros = {run_id("gd", "anytime", {"x": ANY_FLOAT.parse(v)}) for v in ("0", 0, -0.0, "-0")}
    assert len(zeros) == 1


@dataclass(frozen=True)
class Shared:
    steps: Annotated[int, typer.Option(help="Steps."), Ge(1)] = 5
    lambda_: Annotated[tuple[float, ...], typer.Option(help="Weights.")] = (0.5,)


@dataclass(frozen=True)
class Own(Shared):
    kind: Annotated[Literal["a", "b"], typer.Option(help="Kind.")] = "a"
    steps: Annotated[int, typer.Option(help="Steps."), Ge(1)] = 7


def test_a_dataclass_is_the_single_definition_and_shares_by_inheritance():
    params = params_of(Own)
    assert list(params) == ["kind", "steps", "lambda_"]
    assert params["steps"].default == 7
    assert params_of(Shared)["steps"].default == 5
    assert params["lambda_"].flag == "--lambda"
    assert params["lambda_"].many
    assert params["kind"].choices == ("a", "b")


def declared(annotation, default):
    return make_dataclass("Declared", [("steps", annotation, default)], frozen=True)


@pytest.mark.parametrize("annotation", [int, Annotated[int, typer.Option()], Annotated[int, Ge(1)]])
def test_a_field_without_help_is_a_bug_and_named(annotation):
    with pytest.raises(TypeError, match="parameter steps: write Annotated"):
        params_of(declared(annotation, 1))


def test_a_default_out_of_bounds_is_a_bug():
    with pytest.raises(ValueError, match="expected an integer >= 1, got 0"):
        params_of(declared(Annotated[int, typer.Option(help="S."), Ge(1)], 0))


@dataclass(frozen=True)
class Reading:
    file: Annotated[str, typer.Argument(help="A file.")] = "a.txt"
    last: Annotated[bool, typer.Option("--last/--first", help="Last.")] = True
    plain: Annotated[bool, typer.Option(help="Plain.")] = True


def test_a_positional_parameter_and_a_named_off_flag_are_read_from_the_field():
    params = params_of(Reading)
    assert params["file"].positional
    assert params["file"].flag == "FILE"
    assert not params["last"].positional
    assert (params["last"].off, params["plain"].off) == ("--first", "")


@pytest.mark.parametrize(
    ("param", "words"),
    [
        (COUNT, "Integer, 1 to 1e+06"),
        (RATE, "Number, above 0, below 10"),
        (WORD, "Text"),
        (CHOICE, "One of adam, sgd"),
        (COUNTS, "Comma-separated integers, at least 1"),
        (CHOICES, "Comma-separated, of adam, sgd"),
    ],
)
def test_help_says_in_words_what_can_be_given(param, words):
    assert param.values == words


OLD_IDS = json.loads(Path(__file__).with_name("ids-of-0.1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("old", OLD_IDS, ids=lambda old: f"{old['study']} {old['command']}")
def test_a_folder_made_by_an_earlier_version_is_still_found(old, monkeypatch, tmp_path):
    """Flags, types and ids are those with which version 0.1 named its runs."""
    asked = []
    monkeypatch.setattr(answer, "perform", lambda request, *rest: asked.append(request))
    params = {**registered(old["study"], old["command"]).params, **SHARED_PARAMS}
    words = [old["study"], old["command"]]
    for name, value in old["params"].items():
        if params[name].kind is bool:
            words.append(params[name].flag if value else params[name].off_flag)
        else:
            words += [params[name].flag, params[name].text(value)]
    assert run([*words, "--out", str(tmp_path)]) == 0
    assert run_id(old["study"], old["command"], asked[0].params) == old["id"]
