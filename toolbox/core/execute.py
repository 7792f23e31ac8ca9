"""The life of one run: answered from what is there, or computed and renamed into place."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolbox.core import (
    atomic,
    authoring,
    claims,
    code,
    divergence,
    machine,
    memory,
    provenance,
    scratch,
    signals,
    table,
)
from toolbox.core import manifest as manifests
from toolbox.core.errors import Diverged, Interrupted, TableError, ToolboxError, UsageError
from toolbox.core.params import run_id, run_id_by_spelling
from toolbox.core.paths import RunPaths
from toolbox.core.pools import Pool
from toolbox.core.run import Run
from toolbox.core.spec import load_command
from toolbox.core.states import StateMismatch
from toolbox.core.status import Status
from toolbox.core.store import RunRecord

Experiment = Callable[[Run], None]


@dataclass(frozen=True)
class Request:
    """Everything asked for on a command line, resolved."""

    study: str
    command: str
    params: Mapping[str, Any]
    """Every parameter that changes numbers: the command's own, seed and repeats."""
    origins: Mapping[str, str]
    preset: str
    out: Path
    device: str
    threads: int | None
    again: bool
    """Make the run once more although it is there."""
    allow_costly: bool
    """Lift the guards against long times and large memory."""
    quiet: bool
    scratch: Path | None = None
    limit: float | None = None
    """Seconds after which the run checkpoints and ends as interrupted."""
    argv: tuple[str, ...] = ()
    """The command line, for the manifest; by default that of this process."""

    @property
    def paths(self) -> RunPaths:
        """Where the run lives."""
        folder = self.out / self.study / self.command
        earlier = RunPaths(folder, run_id_by_spelling(self.study, self.command, self.params))
        if earlier.final.exists():
            return earlier
        return RunPaths(folder, run_id(self.study, self.command, self.params))


def execute(request: Request, experiment: Experiment) -> tuple[RunRecord, bool]:
    """Run an experiment unless its result is there. Returns the record and whether it was there.

    Errors: `ToolboxError` in all its kinds; nothing is then left under the final name.
    """
    spec = load_command(request.study, request.command)
    if spec.deterministic and request.params["repeats"] > 1:
        raise UsageError(
            f"--repeats {request.params['repeats']}: {request.study} {request.command} is exact, "
            "repetitions would be copies; leave it at 1"
        )
    if request.device.partition(":")[0] not in ("auto", *spec.devices):
        raise UsageError(
            f"--device {request.device}: {request.study} {request.command} computes on "
            f"{' or '.join(spec.devices)}; use --device auto"
        )
    paths = request.paths
    paths.recover()
    if not request.again and (wrong := paths.damage()):
        raise paths.refuse(wrong)
    manifest = manifests.read(paths.final)
    if manifest is not None and not request.again:
        _check_tables(paths, manifest)
        status = Status(manifest["status"])
        return RunRecord(
            request.study, request.command, paths.id, status, paths.final, manifest
        ), True
    authoring.check(request.study, request.command)
    return _compute(request, paths, experiment), False


def _check_tables(paths: RunPaths, manifest: Mapping[str, Any]) -> None:
    """By size alone: reading every byte would make 'already complete' slow."""
    tables = {f"{name}.csv": described for name, described in manifest["tables"].items()}
    for name, described in {**tables, **manifest.get("files", {})}.items():
        if wrong := table.difference(paths.final / name, described, whole=False):
            raise TableError(f"{wrong}; make the run again with --again")


def _compute(request: Request, paths: RunPaths, experiment: Experiment) -> RunRecord:
    threads = machine.set_threads(request.threads)
    manifest: dict[str, Any] = {
        "id": paths.id,
        "study": request.study,
        "command": request.command,
        "preset": request.preset,
        "params": {
            name: {"value": value, "origin": request.origins[name]}
            for name, value in request.params.items()
        },
        "code": code.code_of(request.study),
        "resumed": [],
        **provenance.begin([*(request.argv or sys.argv)], threads),
    }
    folder = paths.new_temporary()
    tables: Path = folder
    try:
        tables = scratch.folder_for(folder, request.scratch)
    except UsageError:
        folder.rmdir()
        raise
    run = Run(
        study=request.study,
        command=request.command,
        spec=load_command(request.study, request.command),
        seed=request.params["seed"],
        repeats=request.params["repeats"],
        asked_device=request.device,
        again=request.again,
        allow_costly=request.allow_costly,
        threads=threads,
        quiet=request.quiet,
        folder=tables,
        checkpoint_path=paths.checkpoint,
        manifest=manifest,
        say=lambda line: None if request.quiet else print(line, file=sys.stderr, flush=True),
    )
    if request.threads is None and (note := machine.threads_note()):
        run.say(note)
    started = time.monotonic()

    def finish(status: Status, message: str = "") -> dict[str, Any]:
        wall = time.monotonic() - started
        return {**manifest, "status": status, "message": message, **provenance.end(wall)}

    try:
        _write_manifest(folder / "run.json", manifest)
        with signals.limited(request.limit), signals.removing(folder, tables):
            status, message = _through(run, experiment)
        manifest["tables"] = run.close_tables()
        if tables != folder:
            scratch.bring_home(tables, folder)
        finished = finish(status, message)
        _write_manifest(folder / "run.json", finished)
        paths.publish(folder, replace=request.again)
    except (Interrupted, UsageError):
        raise
    except ToolboxError as error:
        _record_failure(paths, finish(Status.FAILED, str(error)))
        raise
    except OSError as error:
        if atomic.concerns(error, folder.parent, tables):
            _record_failure(paths, finish(Status.FAILED, str(error)))
            raise atomic.refused(folder, error) from error
        _record_failure(paths, finish(Status.FAILED, _with_traceback(error)))
        if reason := memory.exhausted(error):
            raise _out_of_memory(request, reason) from None
        # Sockets, processes, files that are read: no fault of the outputs folder.
        raise ToolboxError(
            f"{request.study} {request.command} could not go on: {error}; "
            f"{paths.failure} has the traceback"
        ) from error
    except Exception as error:
        if reason := memory.exhausted(error):
            sentence = _out_of_memory(request, reason)
            _record_failure(paths, finish(Status.FAILED, f"{sentence}\n{traceback.format_exc()}"))
            raise sentence from None
        _record_failure(paths, finish(Status.FAILED, _with_traceback(error)))
        raise
    finally:
        if folder.exists():
            run.abandon_tables()
            shutil.rmtree(folder, ignore_errors=True)
        if tables != folder:
            shutil.rmtree(tables, ignore_errors=True)
    paths.failure.unlink(missing_ok=True)
    paths.checkpoint.unlink(missing_ok=True)
    published = manifests.read(paths.final) or finished
    return RunRecord(
        request.study,
        request.command,
        paths.id,
        Status(published["status"]),
        paths.final,
        published,
    )


def _through(run: Run, experiment: Experiment) -> tuple[Status, str]:
    """Run an experiment to its end; a replicate that diverges in a cell of its own ends alone.

    Returns the status and, for a diverged run, what diverged.
    """
    run.open_checkpoint()
    try:
        while True:
            try:
                experiment(run)
            except Diverged as error:
                if run.absorb(error):
                    continue  # from the next cell on
                return Status.DIVERGED, str(error)
            run.came_back()
            break
    except StateMismatch as error:
        raise ToolboxError(f"{run.checkpoint_path}: {error}; --again starts anew") from error
    if divergence.lost(run.manifest) >= set(range(run.repeats)):
        return Status.DIVERGED, run.manifest["diverged"][0]["message"]
    return Status.COMPLETE, ""


def verdicts_of(record: RunRecord) -> list[claims.Verdict]:
    """The verdicts of one run alone; `toolbox verify` pools it with its siblings."""
    spec = load_command(record.study, record.command)
    pool = Pool(record.study, record.command, record.id, (record,), spec)
    return claims.judge(record.study, spec, record.params, pool.evidence)


def record_refusal(request: Request, message: str) -> None:
    """Leave word that an experiment refused its parameters, where nobody reads its one line.

    On a command line the user sees the sentence; of a cell in a job array only this remains.
    """
    paths = request.paths
    paths.command_folder.mkdir(parents=True, exist_ok=True)
    params = {k: {"value": v, "origin": request.origins[k]} for k, v in request.params.items()}
    about = {"id": paths.id, "study": request.study, "command": request.command}
    begun = provenance.begin([*(request.argv or sys.argv)], machine.default_threads())
    manifest = {**about, "preset": request.preset, "params": params, **begun}
    _record_failure(paths, {**manifest, "status": Status.FAILED, "message": message})


def _out_of_memory(request: Request, reason: str) -> ToolboxError:
    """One sentence that names what was asked for."""
    asked = [f"{name}={value}" for name, value in request.params.items()
             if not request.origins[name].startswith(("default", "preset"))]  # fmt: skip
    given = f" with {', '.join(asked)}" if asked else ""
    return ToolboxError(
        f"{request.study} {request.command}{given} needs more memory than there is here "
        f"({reason}); lower the sizes, or use a machine with more memory"
    )


def _with_traceback(error: Exception) -> str:
    return f"{type(error).__name__}: {error}\n{traceback.format_exc()}"


def _record_failure(paths: RunPaths, manifest: dict[str, Any]) -> None:
    """Leave word of a failure for `toolbox runs --failed`; it is never taken for a result."""
    with contextlib.suppress(ToolboxError, OSError):  # the disk may be what failed
        _write_manifest(paths.failure, manifest)


def _write_manifest(path: Path, value: dict[str, Any]) -> None:
    with atomic.replacing(path) as handle:
        text = json.dumps(manifests.sealed(value), indent=1, allow_nan=False)
        handle.write(text.encode() + b"\n")
