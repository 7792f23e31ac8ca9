"""The toolbox with the studies of `tests/toys`: `python tests/toy_toolbox.py coin toss`."""

from pathlib import Path

import toolbox.studies

toolbox.studies.__path__.append(str(Path(__file__).parent / "toys"))

if __name__ == "__main__":
    from toolbox.__main__ import main

    main()
