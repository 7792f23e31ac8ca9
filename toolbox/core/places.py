"""Where studies are found: in this package, in folders of one's own, in installed packages.

    toolbox/studies/NAME/            the studies that come with the toolbox
    TOOLBOX_STUDIES=DIR:DIR          folders that hold studies, or are one, separated as PATH is
    [project.entry-points."toolbox.studies"]
    NAME = "package"                 packages that declare themselves to be a study

A study is a folder with a study.yaml; its name is that of the folder, of an installed one that of
the entry point. Wherever it lies, its code is imported as `toolbox.studies.NAME`. Looking for them
imports nothing of theirs. Nothing heavy is imported here: the front page needs the names.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "TOOLBOX_STUDIES"
GROUP = "toolbox.studies"


@dataclass
class Found:
    """The studies that are there, and what cannot be used."""

    folders: dict[str, Path] = field(default_factory=dict)
    """Name -> folder."""
    refused: dict[str, str] = field(default_factory=dict)
    """Name, or the place where one was looked for -> why, in a sentence."""

    def add(self, name: str, folder: Path) -> None:
        """Take up a study, or refuse all of its name when there is another one."""
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            self.refused[name] = (
                f"{folder}: {name!r} cannot be the name of a study; rename it with letters, digits "
                "and underscores"
            )
            return
        other = self.folders.get(name)
        if other is not None and other != folder:
            self.refused[name] = (
                f"two studies are called {name!r}, so neither is used: {other} and {folder}; "
                f"rename or remove one (see {VARIABLE} and pip uninstall)"
            )
        self.folders.setdefault(name, folder)


def discover() -> Found:
    """Look for studies everywhere; a study that cannot be used leaves all others as they are."""
    studies = Found()
    for folder in inside():
        for path in sorted(folder.glob("*/study.yaml")):
            studies.add(path.parent.name, path.parent)
    for place in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        named = Path(place)
        if not named.is_dir():
            studies.refused[place] = f"{VARIABLE}: there is no folder {place}; correct the variable"
        elif (named / "study.yaml").is_file():
            studies.add(named.resolve().name, named.resolve())
        else:
            for path in sorted(named.glob("*/study.yaml")):
                studies.add(path.parent.name, path.parent.resolve())
    for name, package, declared in _declared(tuple(sys.path)):
        own = _folder_of(package)
        if own is None or not (own / "study.yaml").is_file():
            studies.refused.setdefault(
                name,
                f"{declared} declares the study {name!r}, but there is no package {package!r} with "
                "a study.yaml; install it again or uninstall it",
            )
        else:
            studies.add(name, own.resolve())
    for name in studies.refused:
        studies.folders.pop(name, None)
    return studies


def elsewhere(name: str) -> importlib.machinery.ModuleSpec | None:
    """What `import toolbox.studies.NAME` needs to know of a study that is not in this package."""
    folder = discover().folders.get(name)
    if folder is None or folder.parent in inside():
        return None
    return importlib.util.spec_from_file_location(
        f"{GROUP}.{name}", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )


def inside() -> list[Path]:
    """The folders of this package that hold studies (one, unless a test adds its own)."""
    package = importlib.util.find_spec(GROUP)
    locations = package.submodule_search_locations if package else None
    return [Path(folder) for folder in locations or ()]


def look_in(folders: Sequence[Path]) -> None:
    """Let these folders hold studies of the package too, in a process that another one made."""
    places = importlib.import_module(GROUP).__path__
    places.extend(str(folder) for folder in folders if str(folder) not in places)


@functools.cache
def _declared(path: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """(name, package, distribution) of every entry point of the group.

    Read by hand, because importing `importlib.metadata` takes a third of the time of a help page.
    """
    entries: dict[tuple[str, str], str] = {}
    for folder in path:
        for name, package, declared in _declared_in(folder or "."):
            entries.setdefault((name, package), declared)
    return tuple((*key, declared) for key, declared in sorted(entries.items()))


def _declared_in(folder: str) -> Iterator[tuple[str, str, str]]:
    try:
        infos = [path for path in Path(folder).iterdir()
                 if path.name.endswith((".dist-info", ".egg-info"))]  # fmt: skip
    except OSError:
        return
    for info in infos:
        try:
            text = (info / "entry_points.txt").read_text(encoding="utf-8")
        except OSError:
            continue
        section = re.search(rf"^\[{re.escape(GROUP)}\]\s*$(.*?)(?=^\[|\Z)", text, re.M | re.S)
        for line in section[1].splitlines() if section else ():
            key, equals, value = line.partition("=")
            if equals and not key.strip().startswith(("#", ";")):
                yield key.strip(), re.split(r"[:\[]", value)[0].strip(), info.name.partition("-")[0]


def _folder_of(package: str) -> Path | None:
    """The folder of a package, without importing it."""
    top, *parts = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(location, *parts)).is_dir():
            return folder
    return None
