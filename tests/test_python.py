"""`import toolbox`: the runs of the command line from Python, and nothing but these."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import toolbox
from toolbox.core import signals
from toolbox.public import PUBLIC

HEAVY = {"torch", "numpy", "scipy", "pandas", "matplotlib", "cvxpy", "plotext"}

ROOT = Path(__file__).parents[1]


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script of its own, which knows nothing of the tests."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_import_is_as_light_as_the_help():
    done = python("import toolbox, sys; dir(toolbox); print(*sys.modules)")
    modules = set(done.stdout.split())
    assert not modules & {*HEAVY, "typer", "rich", "pydantic", "yaml"}
    assert {name for name in modules if name.startswith("toolbox")} == {
        "toolbox", "toolbox.version",
    }  # fmt: skip
    asked = python("import toolbox, sys; toolbox.run, toolbox.ToolboxError; print(*sys.modules)")
    assert not set(asked.stdout.split()) & HEAVY


def test_a_call_and_its_command_line_are_one_run(cli, capsys, out):
    run = toolbox.run("coin toss", tosses=np.int64(300), seed=3, repeats=2)
    assert capsys.readouterr() == ("", "")
    assert run.path.parent.parent.parent == out
    there = cli("coin", "toss", "--tosses", "300", "--seed", "3", "--repeats", "2")
    assert there.folder == run.path
    assert "already complete" in there.stderr
    assert run.manifest["argv"] == [
        "toolbox", "coin", "toss", "--seed", "3", "--repeats", "2", "--tosses", "300",
    ]  # fmt: skip
    assert run.params["tosses"] == 300
    assert toolbox.run("coin toss", tosses=300, seed=3, repeats=2).manifest == run.manifest
    assert run.line.startswith("toolbox coin toss --tosses 300")


def test_environment_config_and_presets_lie_below_the_call(monkeypatch, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("tosses: 40\nbias: 0.25\n")
    monkeypatch.setenv("TOOLBOX_COIN_TOSS_TOSSES", "50")
    run = toolbox.run("coin toss", config=config, preset="smoke", sides=["a", "b"])
    assert (run.params["tosses"], run.params["bias"]) == (50, 0.25)
    assert run.params["sides"] == ["a", "b"]
    assert run.manifest["params"]["tosses"]["origin"] == "environment"
    assert run.manifest["params"]["bias"]["origin"] == "config"
    other = toolbox.run("coin toss", tosses=60, out=tmp_path / "elsewhere")
    assert other.path.parents[2] == tmp_path / "elsewhere"
    assert other.params["tosses"] == 60


def test_a_table_says_what_its_columns_mean():
    run = toolbox.run("coin toss", tosses=50, repeats=2)
    frame = run.table()
    assert run.tables == ("counts",)
    assert frame.attrs["run"] == run.id
    assert frame.attrs["rows"] == "one side of the coin"
    assert set(frame.attrs["meanings"]) == set(frame.columns) == set(frame.attrs["roles"])
    pooled = toolbox.table("coin toss")
    pd.testing.assert_frame_equal(pooled, frame, check_flags=False)
    toolbox.run("coin toss", tosses=50, seed=1)
    both = toolbox.table("coin toss", "counts")
    assert len(both) == len(frame) * 3 // 2
    assert len(both.attrs["runs"]) == 2


def test_verdicts_are_those_of_the_command_line(cli):
    for seed in range(4):
        toolbox.run("coin toss", seed=seed)
    ours = toolbox.verdicts("coin toss")
    theirs = json.loads(cli("verify", "coin", "toss", "--json").stdout)[0]
    assert ours["runs"].unique() == [4]
    assert ours["pool"].unique() == [theirs["pool"]]
    for row, verdict in zip(ours.to_dict("records"), theirs["verdicts"], strict=True):
        assert row["claim"] == verdict["claim"]
        assert row["verdict"] == verdict["verdict"]
        assert row["replicates"] == verdict["replicates"]
        assert row["measured"] == pytest.approx(verdict["measured"], nan_ok=True)
    alone = toolbox.load(toolbox.runs("coin")["run"][0])
    assert set(alone.verdicts["replicates"]) == {1}


def test_figures_are_drawn_without_a_file(out):
    run = toolbox.run("coin toss", preset="smoke")
    figure = run.plot(run.figures[0], title="Mine")
    assert figure.axes[0].get_title(loc="left") or figure.axes[0].get_title()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert not list(out.rglob("figures"))
    pooled = toolbox.plot("coin toss", run.figures[0])
    assert pooled.notes == figure.notes
    frame = pd.DataFrame({"step": [1, 2, 3], "loss": [1.0, 0.5, 0.25]})
    own = toolbox.plot(frame, x="step", y="loss", logy=True)
    assert own.axes[0].get_yscale() == "log"
    with pytest.raises(toolbox.UsageError, match="--y is missing"):
        toolbox.plot(frame, x="step")
    with pytest.raises(toolbox.UsageError, match="declares"):
        run.plot("nonsense")


def test_runs_are_a_frame_with_a_column_for_each_parameter():
    assert toolbox.runs().empty
    toolbox.run("coin toss", tosses=10)
    toolbox.run("coin train", steps=3)
    frame = toolbox.runs()
    assert list(frame["command"]) == ["toss", "train"]
    assert frame["ended"].dt.tz is not None
    assert list(toolbox.runs("coin train")["steps"]) == [3]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: toolbox.run("coin toss", tosses=0), r"tosses: expected an integer >= 1 .* got 0"),
        (lambda: toolbox.run("coin toss", toses=1), "no such parameter; did you mean 'tosses'"),
        (lambda: toolbox.run("coin toss", preset="huge"), "--preset huge"),
        (lambda: toolbox.run("coin toss", device="tpu"), "--device tpu: expected auto"),
        (lambda: toolbox.run("coin toss", threads=0), "expected an integer >= 1"),
        (lambda: toolbox.run("coin"), "name study and command.*coin toss, coin train"),
        (lambda: toolbox.run("coin flip"), "coin has no command 'flip'"),
        (lambda: toolbox.run("con toss"), "no study 'con'"),
        (lambda: toolbox.load("abc"), "no run abc under"),
        (lambda: toolbox.verdicts("coin"), "no finished run of coin under"),
        (lambda: toolbox.table("coin toss"), "no finished run of coin toss"),
        (lambda: toolbox.run("coin toss").table("nonsense"), "no table 'nonsense'"),
    ],
)
def test_errors_are_the_sentences_of_the_command_line(call, said):
    with pytest.raises(toolbox.UsageError, match=said):
        call()


def test_what_the_science_refuses_names_fields_and_no_flags():
    with pytest.raises(toolbox.ParameterError, match=r"tasks=.*") as caught:
        toolbox.run("icl ncl", tasks=["parity3"], d=2)
    assert "--" not in str(caught.value)


def test_a_run_that_diverges_is_raised_and_kept():
    with pytest.raises(toolbox.Diverged, match=r"diverged: .*toolbox\.load") as caught:
        toolbox.run("coin train", optimizer="sgd", lr=1e6, steps=100)
    run = toolbox.load(str(caught.value).partition("load('")[2][:12])
    assert run.status == "diverged"
    assert len(run.table("curve")) > 0


def test_a_damaged_run_is_left_out_with_a_warning():
    kept = toolbox.run("coin toss", seed=1)
    cut = toolbox.run("coin toss", seed=2)
    path = cut.path / "counts.csv"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(toolbox.TableError, match=r"counts\.csv"):
        toolbox.load(cut.id)
    with pytest.raises(toolbox.TableError, match=r"counts\.csv"):
        cut.table()
    with pytest.warns(UserWarning, match="1 run was left out"):
        frame = toolbox.table("coin toss")
    assert frame.attrs["runs"] == [kept.id]


# ------------------------------------------------------------------------------------- stopping


def interrupt(seconds: float, times: int = 1) -> threading.Timer:
    """Press Ctrl-C after so many seconds, and again every 0.2."""

    def press() -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.2)

    timer = threading.Timer(seconds, press)
    timer.start()
    return timer


@pytest.fixture
def as_in_a_notebook():
    """Python's own handlers, as a kernel has them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return {number: signal.getsignal(number) for number in signals.NUMBERS}


def test_ctrl_c_leaves_a_checkpoint_from_which_the_same_call_goes_on(
    as_in_a_notebook, out, tmp_path
):
    asked = {"steps": 120, "pause": 0.01}
    timer = interrupt(0.6)
    with pytest.raises(toolbox.Interrupted, match="stopped by SIGINT"):
        toolbox.run("coin train", **asked)
    timer.join()
    assert {n: signal.getsignal(n) for n in signals.NUMBERS} == as_in_a_notebook
    assert len(list(out.rglob("*.checkpoint"))) == 1
    assert not list(out.rglob("run.json"))
    with pytest.raises(toolbox.UsageError, match="is interrupted: it has no tables"):
        toolbox.load(toolbox.runs()["run"][0])
    resumed = toolbox.run("coin train", **asked)
    assert resumed.manifest["resumed"]
    whole = toolbox.run("coin train", **asked, out=tmp_path / "whole")
    for name in whole.tables:
        file = f"{name}.csv"
        assert (resumed.path / file).read_bytes() == (whole.path / file).read_bytes()


def test_a_second_ctrl_c_is_not_waited_for(as_in_a_notebook, out):
    timer = interrupt(0.5, times=2)
    with pytest.raises(KeyboardInterrupt):
        toolbox.run("coin train", steps=3, pause=1.0)
    timer.join()
    assert not list(out.rglob(".tmp-*"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_stop_that_a_run_did_not_see_reaches_the_caller(as_in_a_notebook):
    def unseen() -> None:
        with signals.borrowed():
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.05)

    with pytest.raises(KeyboardInterrupt):
        unseen()
    assert signals.asked() is None


def test_a_handler_of_the_caller_stays(as_in_a_notebook):
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with signals.borrowed():
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(0.05)
    assert heard == [signal.SIGTERM]


def test_outside_the_main_thread_no_handler_is_set(as_in_a_notebook):
    found = []

    def work() -> None:
        found.append(toolbox.run("coin toss", tosses=20))
        found.append({n: signal.getsignal(n) for n in signals.NUMBERS})
        try:
            toolbox.run("coin train", limit=5)
        except toolbox.UsageError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0].status == "complete"
    assert found[1] == as_in_a_notebook
    assert found[2].startswith("--limit: only the main thread")


def test_a_limit_saves_a_checkpoint(out):
    with pytest.raises(toolbox.Interrupted, match="its time limit") as caught:
        toolbox.run("coin train", steps=500, pause=0.01, limit=0.5)
    assert caught.value.exit_code == 75
    assert len(list(out.rglob("*.checkpoint"))) == 1


# ------------------------------------------------------------------- somebody else's process


def test_the_process_of_the_caller_is_left_as_it_was(stop_at):
    import torch

    stop_at(50)
    with pytest.raises(toolbox.Interrupted):
        toolbox.run("coin train", steps=100)
    stop_at(None)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = dict(os.environ), torch.get_num_threads(), torch.get_float32_matmul_precision()
    drawn = random.random(), np.random.random(), float(torch.rand(()))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert toolbox.run("coin train", steps=100, threads=1).manifest["resumed"]
    assert (random.random(), np.random.random(), float(torch.rand(()))) == drawn
    after = dict(os.environ), torch.get_num_threads(), torch.get_float32_matmul_precision()
    assert after == before


def test_a_script_needs_no_guard_and_never_exits(tmp_path):
    """Worker processes would import the script, and begin its run once more in each of them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import toolbox\n"
        "import toolbox.studies.refuel.learn as learn\n"
        "learn.LONG = 0  # else so short a run needs no workers\n"
        "asked = {'preset': 'smoke', 'threads': 2, 'device': 'cpu'}\n"
        "run = toolbox.run('refuel dialogue', repeats=2, **asked)\n"
        "print(run.status, len(run.manifest['workers']))\n"
        "try:\n"
        "    toolbox.run('refuel dialogue', preset='nonsense')\n"
        "except toolbox.ToolboxError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "complete 2"
    assert second.startswith("--preset nonsense: refuel dialogue has")


def test_progress_is_shown_when_asked_for(capsys, stop_at):
    stop_at(50)
    with pytest.raises(toolbox.Interrupted):
        toolbox.run("coin train", steps=100)
    stop_at(None)
    toolbox.run("coin train", steps=100, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "resuming from" in shown.err


def test_a_notebook_gets_its_own_bars(monkeypatch):
    """With ipykernel and ipywidgets they are tqdm's for notebooks, without the latter lines."""
    import types

    from toolbox.core import loop_progress

    assert loop_progress._bars() is None
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert loop_progress._bars() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    from tqdm.notebook import tqdm

    assert loop_progress._bars() is tqdm


# ------------------------------------------------------------------------------- public names


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_exist_and_say_what_they_are(module):
    found = importlib.import_module(module)
    for name in PUBLIC[module]:
        value = getattr(found, name)
        assert name in (ROOT / "toolbox" / "public.py").read_text()
        if callable(value):
            assert inspect.getdoc(value), f"{module}.{name}"


def test_the_list_of_toolbox_itself_is_what_it_exports():
    assert tuple(toolbox.__all__) == PUBLIC["toolbox"]
    assert set(toolbox.__all__) <= set(dir(toolbox))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        toolbox.nonsense  # noqa: B018


def test_the_page_of_parts_uses_public_names_alone():
    page = (ROOT / "docs" / "building-blocks.md").read_text()
    imports = re.findall(r"^from (toolbox\.[\w.]+) import (.+)$", page, flags=re.M)
    assert imports
    for module, names in imports:
        for name in names.split(", "):
            name = name.partition(" as ")[0]
            known = PUBLIC.get(module, ()) + PUBLIC.get(f"{module}.{name}", ())
            assert name in known or f"{module}.{name}" in PUBLIC, (module, name)
