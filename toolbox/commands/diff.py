"""`toolbox diff A B`: in what two runs, or two pools of runs, differ."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolbox.commands.show import find
from toolbox.core import claims, code, store, text
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.params import run_id
from toolbox.core.pools import Pool, pool_params
from toolbox.core.spec import load_command
from toolbox.core.status import Status

_ABSENT = "-"
_WIDTH = 80


@dataclass(frozen=True)
class Side:
    """One of the two: a run, or the runs of a pool."""

    name: str
    runs: tuple[store.RunRecord, ...]

    @property
    def facts(self) -> dict[str, dict[str, str]]:
        """Section -> name -> value, as text; values in which the runs of a pool differ, all."""
        manifests = [run.manifest for run in self.runs]
        machines = [manifest["machine"] for manifest in manifests]
        versions = [manifest.get("versions", {}) for manifest in manifests]
        return {
            "what": {
                "command": _values(f"{run.study} {run.command}" for run in self.runs),
                "runs": _values(run.id for run in self.runs),
                "status": _values(run.state for run in self.runs),
            },
            "parameters": {
                name: _values(_text(run.params.get(name, _ABSENT)) for run in self.runs)
                for name in dict.fromkeys(name for run in self.runs for name in run.params)
            },
            "code": {
                "toolbox": _values(str(manifest["toolbox"]) for manifest in manifests),
                "commit": _values(_commit(manifest["git"]) for manifest in manifests),
                "hash of the code": _values(
                    str((manifest.get("code") or {}).get("sha256", _ABSENT))[:12]
                    for manifest in manifests
                ),
            },
            "versions": {
                name: _values(str(each.get(name, _ABSENT)) for each in versions)
                for name in sorted({name for each in versions for name in each})
            },
            "machine": {
                **{
                    name: _values(str(machine[name]) for machine in machines)
                    for name in ("cpu", "system", "host", "cores_allowed", "threads")
                },
                "device": _values(
                    str(each.get("torch_device") or each.get("device", _ABSENT))
                    for each in manifests
                ),
                "seconds": _values(f"{each.get('wall_seconds', 0):.3g}" for each in manifests),
            },
            "verdicts": {verdict.claim: _verdict(verdict) for verdict in self._verdicts()},
        }

    def _verdicts(self) -> list[claims.Verdict]:
        first = self.runs[0]
        if any(run.status not in (Status.COMPLETE, Status.DIVERGED) for run in self.runs):
            return []
        spec = load_command(first.study, first.command)
        for run in self.runs:
            if wrong := run.mismatch(spec):
                raise ToolboxError(wrong)
        pool = Pool(first.study, first.command, self.name, self.runs, spec)
        return claims.judge(first.study, spec, pool.params, pool.evidence)


def diff(a: str, b: str, as_json: bool, out: Path) -> None:
    """Print two runs or pools side by side.

    Errors: `UsageError` for a name that is none or not of one alone, `ToolboxError` for a damaged
    run.
    """
    sides = (_side(a, out), _side(b, out))
    one, other = (side.facts for side in sides)
    files = code.difference(*(side.runs[0].manifest.get("code") for side in sides))
    if as_json:
        document = {
            section: {
                name: {"a": one[section].get(name), "b": other[section].get(name)}
                for name in {**one[section], **other[section]}
            }
            for section in one
        }
        print(json.dumps({"a": a, "b": b, **document, "changed_files": files}))
        return
    print("\n".join(_lines(one, other, files)).rstrip())


def _side(name: str, out: Path) -> Side:
    pools: dict[tuple[str, str, str], list[store.RunRecord]] = {}
    if name and "/" not in name:
        for run in store.runs(out):
            if run.status in (Status.COMPLETE, Status.DIVERGED) and not run.damage:
                key = _pool_of(run)
                if key is not None and key[2].startswith(name):
                    pools.setdefault(key, []).append(run)
    if not pools:
        runs = (find(name, out),)
    elif len(pools) > 1 or any(run.id.startswith(name) for run in store.runs(out)):
        raise UsageError(f"{name} is the beginning of several runs and pools; write more of it")
    else:
        runs = tuple(next(iter(pools.values())))  # type: ignore[assignment]
    checked = tuple(run.checked() for run in runs)
    for run in checked:
        if run.damage:
            raise ToolboxError(f"{run.path} is damaged: {run.damage}")
    return Side(name, checked)


def _pool_of(run: store.RunRecord) -> tuple[str, str, str] | None:
    try:
        spec = load_command(run.study, run.command)
    except UsageError:  # of a study that is not installed
        return None
    shared = pool_params(run.params, spec)
    return run.study, run.command, run_id(run.study, run.command, shared)


def _lines(
    one: Mapping[str, Mapping[str, str]],
    other: Mapping[str, Mapping[str, str]],
    files: list[str] | None,
) -> Iterator[str]:
    """A section each. What is equal in both is counted; names and verdicts are always shown."""
    for section in one:
        names = list({**one[section], **other[section]})
        pairs = {n: (one[section].get(n, _ABSENT), other[section].get(n, _ABSENT)) for n in names}
        shown = {
            name: pair
            for name, pair in pairs.items()
            if pair[0] != pair[1] or section in ("what", "verdicts")
        }
        equal = len(pairs) - len(shown)
        if not pairs:
            continue
        yield f"{section}" + (f" ({equal} equal)" if equal else "")
        for name, pair in shown.items():
            yield from _row(name, *pair)
        if section == "code" and files:
            yield text.wrapped(f"changed: {code.shown(files)}", "  ", "    ")
        yield ""


def _row(name: str, a: str, b: str) -> Iterator[str]:
    label, value = 20, (_WIDTH - 20 - 6) // 2
    columns = [textwrap.wrap(part, size) or [""]
               for part, size in ((name, label), (a, value), (b, value))]  # fmt: skip
    mark = " " if a == b else "|"
    for number in range(max(map(len, columns))):
        cells = [column[number] if number < len(column) else "" for column in columns]
        yield f"  {cells[0]:{label}} {cells[1]:{value}} {mark} {cells[2]}".rstrip()


def _values(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))


def _text(value: Any) -> str:
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def _commit(git: Mapping[str, Any] | None) -> str:
    return f"{git['commit'][:12]}{' + changes' if git['dirty'] else ''}" if git else "installed"


def _verdict(verdict: claims.Verdict) -> str:
    if verdict.measured is None:
        return str(verdict.verdict)
    interval = (
        f" [{verdict.low:.4g}, {verdict.high:.4g}]"
        if verdict.low is not None and verdict.high is not None and verdict.low != verdict.high
        else ""
    )
    return f"{verdict.verdict} {verdict.measured:.4g}{interval}"
