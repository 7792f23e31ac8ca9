"""`toolbox show RUN`: what made this folder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from toolbox.core import store
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.options import SHARED_PARAMS
from toolbox.core.spec import CommandSpec, load_command
from toolbox.core.status import Status
from toolbox.core.studies import registered


def show(run: str, as_json: bool, out: Path) -> None:
    """Print what made a run."""
    record = find(run, out).checked()
    if record.damage:
        raise ToolboxError(f"{record.path} is damaged: {record.damage}")
    if as_json:
        print(json.dumps(record.manifest))
        return
    manifest = record.manifest
    print(f"{record.path}\n  {record.state}: {record.status.sentence if record.status else ''}")
    if message := str(manifest.get("message", "")):
        print("  " + message.replace("\n", "\n  "))
    print(f"\nagain  {again(record)}\nasked  {shlex.join(manifest['argv'])}")
    print("\nparameters")
    for name, entry in manifest["params"].items():
        print(f"  {name} = {value_text(entry['value'])}  ({entry['origin']})")
    print("\nprovenance")
    for key, value in provenance(manifest).items():
        print(f"  {key}: {value}")
    if record.status in (Status.COMPLETE, Status.DIVERGED):
        _print_tables(record, load_command(record.study, record.command))
        for name, described in manifest.get("files", {}).items():
            print(f"\n{record.path / name}  {described['bytes']} bytes")


def again(record: store.RunRecord) -> str:
    """The command line that makes the run again, every parameter spelled out."""
    words = ["toolbox", record.study, record.command]
    declared = {**registered(record.study, record.command).params, **SHARED_PARAMS}
    for name, value in record.params.items():
        if (param := declared.get(name)) is None:  # the hash of a file that was read
            continue
        words += param.words(value)
    return shlex.join(words)


def find(run: str, out: Path) -> store.RunRecord:
    """The run of an id, of the beginning of one, or of a folder.

    Errors: `UsageError` when there is none, or more than one.
    """
    folder = Path(run).resolve()
    if run and (folder / "run.json").is_file() and len(folder.parents) > 3:
        records = store.runs(folder.parents[2], folder.parents[1].name, folder.parent.name)
        matching = [record for record in records if record.path.name == folder.name]
    else:
        matching = [record for record in store.runs(out) if record.id.startswith(run)]
    if len({record.id for record in matching}) > 1:
        ids = ", ".join(sorted({record.id for record in matching}))
        raise UsageError(f"{run} is the beginning of several runs ({ids}); write more of it")
    if not matching:
        raise UsageError(f"no run {run} under {out}; `toolbox runs` lists those that are there")
    return matching[0]


def value_text(value: Any) -> str:
    """A parameter's value as it is typed on a command line."""
    if isinstance(value, list):
        return ",".join(value_text(item) for item in value)
    return repr(value) if isinstance(value, float) else str(value)


def provenance(manifest: dict[str, Any]) -> dict[str, str]:
    """Versions, machine, seeds, times and memory of a finished run, in words."""
    git, machine = manifest["git"], manifest["machine"]
    commit = f"{git['commit']}{' + changes' if git['dirty'] else ''}" if git else "installed"
    facts = {
        "toolbox": f"{manifest['toolbox']} ({commit})",
        "versions": ", ".join(f"{k} {v}" for k, v in manifest.get("versions", {}).items()),
        "machine": f"{machine['cpu']}, {machine['threads']} of {machine['cores_allowed']} cores, "
        f"{machine['system']}, {machine['host']}",
        "device": str(manifest.get("torch_device", manifest.get("device", ""))),
        "seeds": manifest["seed_derivation"],
        "times": f"{manifest['started']} to {manifest.get('ended', '')}, "
        f"{manifest.get('wall_seconds', 0)} s wall, {manifest.get('cpu_seconds', 0)} s CPU",
        "peak memory": f"{manifest.get('peak_memory_bytes', 0) / 1e6:.0f} MB",
        "workers": ", ".join(
            f"{worker['cpu_seconds']} s CPU and {worker['peak_memory_bytes'] / 1e6:.0f} MB"
            for worker in manifest.get("workers", [])
        ),
        "resumed from": ", ".join(manifest["resumed"]),
        "scheduler": " ".join(f"{k}={v}" for k, v in (manifest["scheduler"] or {}).items()),
    }
    return {key: value for key, value in facts.items() if value}


def _print_tables(record: store.RunRecord, spec: CommandSpec) -> None:
    for name, table in spec.tables.items():
        described = record.manifest["tables"].get(name)
        if described is None:
            continue
        print(f"\n{record.path / name}.csv  {described['rows']} rows, one is {table.rows}")
        for column, meaning in table.all_columns.items():
            unit = f" [{meaning.unit}]" if meaning.unit else ""
            print(f"  {column}: {meaning.meaning}{unit} ({meaning.role}, {meaning.type})")
