"""Command lines in processes forked from one that has imported the heavy libraries already.

What stops, kills and races is a process of its own; that each of a thousand imports torch anew
tests nothing more and takes most of the suite's time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

_CONTEXT: Any = multiprocessing.get_context("forkserver")
# The server ends with the test process; the first process in it starts it.
_CONTEXT.set_forkserver_preload(["pandas", "scipy.optimize", "torch", "toolbox.core.execute"])


class Warm:
    """What `subprocess.Popen` offers of a process, for `toolbox WORDS` with all its output kept.

    memory : bytes of private memory that it may ask for"""

    def __init__(
        self, words: list[str], cwd: Path, env: dict[str, str], memory: int | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="said-")
        self._said = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._process = _CONTEXT.Process(target=_live, args=(words, cwd, env, memory, self._said))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float) -> tuple[str, str]:
        self._process.join(timeout)
        if self.poll() is None:
            self.kill()
            raise TimeoutError(f"still at work after {timeout} s")
        stdout, stderr = (path.read_text() for path in self._said)
        self._folder.cleanup()
        return stdout, stderr


def _live(
    words: list[str], cwd: Path, env: dict[str, str], memory: int | None, said: list[Path]
) -> None:
    from toolbox.__main__ import main
    from toolbox.core import signals

    signals.install()
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["toolbox", *words]
    with contextlib.suppress(ImportError):  # the toy studies, only in a checkout
        import toy_toolbox  # noqa: F401

    main()
