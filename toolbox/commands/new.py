"""`toolbox new`: a study that runs, in a folder of one's own."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path

from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.places import VARIABLE, discover

TEMPLATE = Path(__file__).parents[1] / "template"
NO_ARXIV = "0000.00000"


def new(name: str, arxiv: str, taken: tuple[str, ...]) -> None:
    """Write the study and print its folder.

    taken : names of commands, which a study cannot have

    Errors: `UsageError` for a name that cannot be used and a folder that is there already.
    """
    _check_name(name, taken)
    if not re.fullmatch(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}(v\d+)?", arxiv):
        raise UsageError(f"--arxiv {arxiv}: expected an identifier such as 2411.17668")
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not empty; choose another name or place")
    for source in sorted(TEMPLATE.rglob("*.txt")):
        target = folder / str(source.relative_to(TEMPLATE)).removesuffix(".txt").replace(
            "@NAME@", name
        )
        text = source.read_text(encoding="utf-8").replace("@NAME@", name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text.replace("@ARXIV@", arxiv), encoding="utf-8")
        except OSError as error:
            raise ToolboxError(f"cannot write {target}: {error.strerror}") from None
    print(folder)
    print(
        f"A study that runs; replace its random walks by your own. Next:\n"
        f'  export {VARIABLE}="$PWD/{name}"\n'
        f"  toolbox {name} spread --repeats 5\n"
        f"  toolbox check {name}\n"
        "docs/adding-a-study.md explains every file; installed (pip install -e "
        f"{name}) it needs no {VARIABLE}.",
        file=sys.stderr,
    )


def _check_name(name: str, taken: tuple[str, ...]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UsageError(f"{name!r}: a study is called by small letters, digits and underscores")
    if name in taken:
        raise UsageError(f"{name!r} is a command of toolbox; choose another name")
    if name in discover().folders:
        raise UsageError(f"there is a study {name!r} already; choose another name")
    if importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"{name!r} is the name of an installed Python package; choose another, so that the "
            "study can be installed beside it"
        )
