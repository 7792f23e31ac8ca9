"""Manifests, checkpoints and failure records damaged in hundreds of ways, told by a seed.

Whatever is done to one run: no traceback, an exit code of the closed set, the damage is named, and
the runs beside it are judged as before.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import zipfile
from pathlib import Path

import pytest

from toolbox.core.manifest import SEAL, sealed

CODES = {0, 1, 2, 3, 75, 130}
HOSTILE = [None, True, 0, -1, 10**400, 1e308, "", "x", "\x00", "\ud800", "../../etc", [], [[]], {},
           {"value": {}}, [1, "a", None], "9999-99-99", "0" * 70_000]  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000


def leaves(document, place=()):
    """Every place in a JSON document."""
    yield place
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inner:
        if isinstance(value, dict | list):
            yield from leaves(value, (*place, key))
        else:
            yield (*place, key)


def altered(document, rng: random.Random):
    """The document with one to three places removed, swapped or of another type."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        *way, last = rng.choice([place for place in leaves(document) if place])
        inner = document
        for key in way:
            inner = inner[key]
        what = rng.random()
        if what < 0.3:
            del inner[last]
        elif what < 0.8:
            inner[last] = rng.choice(HOSTILE)
        elif isinstance(inner[last], int | float) and not isinstance(inner[last], bool):
            inner[last] += rng.choice((1, -1, 0.5, 10**6))
        elif isinstance(inner[last], str):
            inner[last] = inner[last][::-1] + "x"
        else:
            inner[last] = str(inner[last])
    return document


def damaged_text(text: bytes, rng: random.Random) -> bytes:
    """Cut, overwritten, binary, empty, nested, of another encoding, or altered JSON."""
    kind = rng.randrange(10)
    if kind == 0:
        return text[: rng.randrange(len(text))]
    if kind == 1:
        return rng.randbytes(rng.randrange(500))
    if kind == 2:
        at = rng.randrange(len(text))
        return text[:at] + rng.randbytes(rng.randrange(1, 20)) + text[at + 20 :]
    if kind == 3:
        return rng.choice([b"", b"null", b"[]", b"{}", b"NaN", b'{"a": NaN}', DEEP.encode()])
    if kind == 4:
        return text.decode().encode("utf-16")
    document = altered(json.loads(text), rng)
    if kind < 8 and SEAL in document:  # by someone who knows of the checksum, or an old version
        document = {key: value for key, value in document.items() if key != SEAL}
        if kind == 7:
            document = sealed(document)
    return json.dumps(document).encode()


def damage(path: Path, rng: random.Random) -> None:
    """Do something to a manifest, a failure record or a checkpoint."""
    kind = rng.randrange(12)
    if kind == 0:
        path.unlink()
        path.mkdir()
        return
    if kind == 1:
        path.unlink()
        path.symlink_to(rng.choice(("nowhere", path.name)))
        return
    if path.suffix != ".checkpoint" or kind < 5:
        path.write_bytes(damaged_text(path.read_bytes(), rng) if path.suffix == ".json"
                         else cut(path.read_bytes(), rng))  # fmt: skip
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([n for n in members if n.endswith(".json")] * 3 + list(members))
    if rng.random() < 0.15:
        del members[name]
    elif name.endswith(".json"):
        members[name] = damaged_text(members[name], rng)
    else:
        members[name] = cut(members[name], rng)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def cut(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(max(1, len(content)))
    return rng.choice([content[:at], content[:at] + rng.randbytes(9) + content[at + 9 :], b""])


@pytest.fixture
def sound(cli, out, tmp_path, stop_at):
    """Outputs with a run of each kind; returns a function that gives a fresh copy of them."""
    cli("coin", "toss", "--tosses", 100_000, "--repeats", 3)
    cli("coin", "toss", "--tosses", 100_000, "--repeats", 3, "--seed", 1)
    train = ("coin", "train", "--steps", 9, "--device", "cpu")
    cli(*train)
    cli("coin", "train", "--steps", 400, "--optimizer", "sgd", "--lr", 100, "--device", "cpu")
    stop_at(5)
    assert cli(*train, "--seed", 3).code == 75
    stop_at(None)
    manifest = next(out.glob("coin/toss/*/run.json"))
    failed = sealed({**json.loads(manifest.read_text()), "status": "failed", "message": "no luck"})
    (out / "coin" / "toss" / "0123456789ab.failed.json").write_text(json.dumps(failed))
    kept = tmp_path / "sound"
    out.rename(kept)

    def fresh() -> Path:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(kept, out)
        return out

    return fresh


def answer(cli, *arguments):
    result = cli(*arguments)
    assert result.code in CODES
    assert "Traceback" not in result.stderr + result.stdout
    return result


def judgements(pools):
    return sorted((pool["pool"], pool["runs"], pool["verdicts"]) for pool in pools)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_damaged_is_named_and_the_rest_is_judged(cli, out, sound, seed):
    rng = random.Random(seed)
    base = sound()
    usual = json.loads(answer(cli, "verify", "--pool", "all", "--json").stdout)
    listed = {run["run"]: run for run in json.loads(answer(cli, "runs", "--json").stdout)}
    for _ in range(40):
        base = sound()
        manifests = sorted(base.glob("coin/*/*/run.json"))
        path = rng.choice([*manifests, *manifests, *sorted(base.glob("coin/*/*.checkpoint")),
                           *base.glob("coin/*/*.failed.json")])  # fmt: skip
        run = path.parent.name if path.name == "run.json" else path.name.partition(".")[0]
        damage(path, rng)
        runs = {one["run"]: one for one in json.loads(answer(cli, "runs", "--json").stdout)}
        answer(cli, "runs")
        answer(cli, "clean")
        answer(cli, "show", run)
        result = answer(cli, "verify", "--pool", "all", "--json")
        if runs.get(run, {}).get("status") == "damaged":
            assert runs[run]["message"]
            if path.name == "run.json":
                assert result.code == 1
                assert f" {run}: " in result.stderr
                assert f"would remove {path.parent}" in cli("clean").stdout
        else:  # nothing that decides was touched
            shown = ("status", "params", "path")
            assert [runs[run][key] for key in shown] == [listed[run][key] for key in shown]
            assert judgements(json.loads(result.stdout)) == judgements(usual)
        for other in listed.keys() - {run}:
            assert runs[other] == listed[other]
        judged = {name for pool in json.loads(result.stdout) for name in pool["runs"]}
        everything = {name for pool in usual for name in pool["runs"]}
        assert everything - judged <= {run}


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_checkpoint_or_result_ends_in_a_sentence_or_a_run(cli, out, sound, seed):
    rng = random.Random(100 + seed)
    for _ in range(25):
        base = sound()
        (saved,) = base.glob("coin/train/*.checkpoint")
        damage(saved, rng)
        result = answer(cli, "coin", "train", "--steps", 9, "--device", "cpu", "--seed", 3)
        if result.code == 0:
            assert len((result.folder / "curve.csv").read_text().splitlines()) == 10
        final = rng.choice(sorted(base.glob("coin/toss/*/run.json")))
        before = {path.name: path.read_bytes() for path in final.parent.iterdir()}
        damage(final, rng)
        changed = final.is_dir() or not final.exists() or final.read_bytes() != before["run.json"]
        again = answer(cli, "coin", "toss", "--tosses", 100_000, "--repeats", 3)
        if again.code == 1:
            assert "--again makes it anew" in again.stderr
        assert changed == (final.is_dir() or not final.exists()
                           or final.read_bytes() != before["run.json"])  # fmt: skip
        assert (final.parent / "counts.csv").read_bytes() == before["counts.csv"]
