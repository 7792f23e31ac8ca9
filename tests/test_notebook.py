"""examples/first_steps.ipynb in a kernel of its own, and Ctrl-C in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
nbformat.write(notebook, "done.ipynb")
"""

INTERRUPT = """
import json
import sys
import time
from pathlib import Path
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")


def run(code, interrupt=False):
    asked = client.execute(code, reply=False)
    if interrupt:
        while not list(Path().glob("outputs/coin/train/.tmp-*/curve.csv")):
            time.sleep(0.05)
        manager.interrupt_kernel()
    while (message := client.get_shell_msg(timeout=120))["parent_header"]["msg_id"] != asked:
        pass  # an answer from the start of the kernel
    reply = message["content"]
    return [reply["status"], reply.get("ename"), reply.get("evalue")]


said = [run("import toolbox; asked = {'steps': 400, 'pause': 0.01}"),
        run("toolbox.run('coin train', **asked)", interrupt=True),
        [path.suffix for path in Path("outputs/coin/train").iterdir()],
        run("run = toolbox.run('coin train', **asked); assert run.manifest['resumed']")]
client.stop_channels()
manager.shutdown_kernel(now=True)
print(json.dumps(said))
"""


def kernel(code: str, place: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    environment.pop("TOOLBOX_OUT")
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=place, env=environment,
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path):
    done = kernel(EXECUTE, tmp_path, str(NOTEBOOK))
    assert done.returncode == 0, done.stderr[-3000:]
    executed = json.loads((tmp_path / "done.ipynb").read_text())
    shown = [output for cell in executed["cells"] for output in cell.get("outputs", ())]
    assert not [one for one in shown if one.get("name") == "stderr"]
    assert sum("image/png" in one.get("data", {}) for one in shown) == 2


def test_an_interrupted_cell_leaves_a_checkpoint_and_goes_on(tmp_path):
    done = kernel(INTERRUPT, tmp_path, TOOLBOX_STUDIES=str(ROOT / "tests" / "toys"))
    assert done.returncode == 0, done.stderr[-3000:]
    begun, stopped, left, resumed = json.loads(done.stdout)
    assert begun[0] == "ok"
    assert stopped[:2] == ["error", "Interrupted"]
    assert "stopped by SIGINT at a step boundary" in stopped[2]
    assert left == [".checkpoint"]
    assert resumed[0] == "ok", resumed
