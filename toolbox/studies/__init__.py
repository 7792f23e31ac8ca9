"""One folder per paper. No study imports another; deleting one leaves the rest working."""

import sys
from importlib.machinery import ModuleSpec
from typing import Any

from toolbox.core.places import elsewhere


class _FromElsewhere:
    """Finds `toolbox.studies.NAME` in a folder of one's own or in an installed package."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, study = name.rpartition(".")
        return elsewhere(study) if package == __name__ else None


sys.meta_path.append(_FromElsewhere)
