"""On a job's PYTHONPATH: mounts the toy studies in every Python that starts."""

from pathlib import Path

import toolbox.studies

toolbox.studies.__path__.append(str(Path(__file__).parents[2] / "toys"))
