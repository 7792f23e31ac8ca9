"""The manifest: everything a stranger needs to know how a folder came to be."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import resource
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from toolbox.core import machine, scheduler, seeds
from toolbox.version import __version__

SCHEMA = 1
_INSTALLED = ("site-packages", "dist-packages")
# An allow-list: an environment holds tokens and passwords.
_ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED")


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def begin(argv: list[str], threads: int) -> dict[str, Any]:
    """What is known before a run starts."""
    return {
        "schema": SCHEMA,
        "toolbox": __version__,
        "git": _git(),
        "argv": argv,
        "seed_derivation": seeds.DERIVATION,
        "started": now(),
        "machine": _machine(threads),
        "scheduler": scheduler.this_job(),
    }


def end(wall_seconds: float) -> dict[str, Any]:
    """What is known when a run ends."""
    return {
        "ended": now(),
        "wall_seconds": round(wall_seconds, 3),
        **usage(),
        "versions": {"python": platform.python_version(), **_versions()},
        "device": _accelerator(),
    }


def usage() -> dict[str, Any]:
    """Processor time and largest memory of this process so far.

    A run that computes in processes of its own puts theirs into its manifest, as `workers`.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "peak_memory_bytes": used.ru_maxrss * unit,
    }


def _versions() -> dict[str, str]:
    """Versions of the installed packages this process imported: what can have shaped a number."""
    versions: dict[str, str] = {}
    for name, module in sorted(sys.modules.items()):
        if "." in name or name.startswith("_"):
            continue
        # A package in several folders has no file of its own.
        origin = getattr(module, "__file__", None) or next(
            iter(getattr(module, "__path__", ())), ""
        )
        roots = [path for path in Path(origin).parents if path.name in _INSTALLED]
        if roots and (known := _distribution(name, roots[0])):
            versions[known[0]] = known[1]
    return dict(sorted(versions.items()))


@functools.cache
def _distribution(module: str, root: Path) -> tuple[str, str] | None:
    """Name and version of the distribution in `root` that a top-level module is from.

    `metadata.packages_distributions` would read the list of files of every package there.
    """
    try:  # most are named alike
        distribution = metadata.distribution(module)
    except metadata.PackageNotFoundError:
        infos = (metadata.PathDistribution(path) for path in sorted(root.glob("*.dist-info")))
        among = (each for each in infos if module in _modules_of(each))
        if (other := next(among, None)) is None:
            return None
        distribution = other
    return str(distribution.metadata["Name"]), distribution.version


def _modules_of(distribution: metadata.Distribution) -> set[str]:
    listed = distribution.read_text("top_level.txt")
    if listed is not None:
        return set(listed.split())
    record = (distribution.read_text("RECORD") or "").splitlines()
    return {line.partition("/")[0].partition(".py,")[0] for line in record}


def _machine(threads: int) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu_model(),
        "cores_allowed": machine.allowed_cores(),
        "threads": threads,
        "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _accelerator() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return "cpu"


def _git() -> dict[str, Any] | None:
    """Commit and cleanliness of the checkout this package runs from; None for an installed one."""
    root = Path(__file__).resolve().parents[2]
    # A virtual environment may lie inside a stranger's repository: only our own root counts.
    if not (root / ".git").exists():
        return None
    try:
        commit = _run_git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_run_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _run_git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
