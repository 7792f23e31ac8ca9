"""A study.yaml says what it may, and a wrong one is refused with file, line and key."""

from __future__ import annotations

import shlex

import pytest
import yaml

import toolbox.studies
from toolbox.core.errors import UsageError
from toolbox.core.spec import load_command, load_study, preset_line, selected, study_names
from toolbox.core.studies import registered

MINIMAL = """\
title: T
authors: A
arxiv: "0"
commands:
  go:
    about: goes
    presets: {smoke: {}, small: {}, paper: {}}
    tables:
      t:
        rows: a row
        columns:
          x: {meaning: x, role: index}
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Write the study.yaml of a study that is mounted as `made`."""

    def write(text):
        folder = tmp_path / "studies" / "made"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.yaml").write_text(text)
        load_study.cache_clear()
        return folder

    monkeypatch.setattr(toolbox.studies, "__path__", toolbox.studies.__path__)
    toolbox.studies.__path__.append(str(tmp_path / "studies"))
    yield write
    toolbox.studies.__path__.remove(str(tmp_path / "studies"))
    load_study.cache_clear()


def test_a_minimal_study_is_read_and_every_table_has_its_replicate_columns(study):
    study(MINIMAL)
    assert "made" in study_names()
    assert list(load_command("made", "go").tables["t"].all_columns) == ["seed", "repeat", "x"]
    assert list(selected("made", None)) == [("made", "go", load_command("made", "go"))]


def test_a_folder_without_study_yaml_is_no_study(study):
    (study(MINIMAL) / "study.yaml").unlink()
    assert "made" not in study_names()
    with pytest.raises(UsageError, match=r"no study 'made'; the studies are .*coin"):
        load_study("made")


def claim(**changed):
    base = {
        "statement": "s",
        "origin": "paper",
        "control": {"change": "function", "name": "loaded"},
        "reference": "p",
        "statistic": "f",
        "region": [0, 1],
    }
    return yaml.safe_dump({**base, **changed}, default_flow_style=True).strip()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("title: T", "titel: T", "study.yaml:1: title: Field required"),
        ("about: goes", "about: goes\n    abuot: x", "study.yaml:7: commands.go.abuot: Extra"),
        ("role: index", "role: axis", "study.yaml:12: commands.go.tables.t.columns.x.role"),
        ("x: {meaning", "seed: {meaning", "do not declare it"),
        (", paper: {}", "", "preset 'paper' is missing"),
        ("about: goes", "about: goes\n    seconds: {huge: 1}", "unknown preset 'huge'"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(region=[1, 0])}}}", "low < high"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(region=[1, 1])}}}", "low < high"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(region=[None] * 2)}}}", "a number"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(min_seeds=0)}}}", "min_seeds"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(summary='max')}}}", "summary"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(diverged='worst')}}}", "no finite"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(control=[])}}}", "control"),
        ("about: goes", f"about: goes\n    claims: {{c: {claim(requires='T >=')}}}", "study.yaml:"),
        (
            "about: goes",
            "about: goes\n    figures: {f: {title: F, table: u, x: x, y: x}}",
            "undeclared table 'u'",
        ),
        ("    about: goes", "    about: goes\n    about: goes", "study.yaml:7: duplicate key"),
    ],
)  # fmt: skip
def test_what_a_study_may_not_say_is_refused_with_its_place(study, old, new, expected):
    study(MINIMAL.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_study("made")
    assert expected in str(caught.value)
    assert "study.yaml:" in str(caught.value)


def test_an_unknown_command_is_refused_with_those_that_exist():
    with pytest.raises(UsageError, match="coin has no command 'tos'; it has toss, train"):
        load_command("coin", "tos")


def test_the_line_of_a_preset_is_found():
    assert preset_line("coin", "toss", "paper").endswith("study.yaml:11")


def test_guides_name_commands_flags_and_presets_that_exist():
    for study in study_names():
        loaded = load_study(study)
        if loaded.guide is None:
            continue
        for named in loaded.guide.flags:
            command, flag, *value = named.split()
            if flag == "--preset":
                assert not value or value[0] in loaded.commands[command].presets, named
            else:
                assert flag in {p.flag for p in registered(study, command).params.values()}, named
        for line in loaded.guide.next:
            program, name, command, *rest = shlex.split(line.partition("#")[0])
            assert (program, name) == ("toolbox", study), line
            known = {p.flag for p in registered(study, command).params.values()} | {"--preset"}
            assert {word for word in rest if word.startswith("--")} <= known, line
            if "--preset" in rest:
                preset = rest[rest.index("--preset") + 1]
                assert preset in loaded.commands[command].presets, line
