"""The numbers do not depend on how many work; a stop collects every state; failures are one
sentence."""

from __future__ import annotations

import functools
import multiprocessing
import shutil

import pytest

from tests.core import crew_jobs
from toolbox.core import crew as crew_module
from toolbox.core import signals
from toolbox.core.errors import Interrupted, ToolboxError
from toolbox.core.status import Status

JOBS = [(0, 5, 0.0), (1, 3, 0.0), (2, 8, 0.0), (3, 1, 0.0)]


def rows(run, found):
    for (repeat, _, _), outcome in found:
        values = [*outcome["w"].tolist(), outcome["sum"], outcome["threads"]]
        run.write("curve", {"step": range(len(values)), "loss": values}, repeat)


def experiment(run, jobs=JOBS, processes=None):
    with run.crew(processes) as crew:
        rows(run, crew.map(crew_jobs.train, jobs))


def table(record):
    return (record.path / "curve.csv").read_bytes()


def test_processes_and_none_give_the_same_bytes(launch, out):
    here, _ = launch(functools.partial(experiment, processes=1), repeats=4)
    reference = table(here)
    assert b"1.0" in reference  # one thread
    assert "workers" not in here.manifest
    shutil.rmtree(out)
    apart, _ = launch(experiment, repeats=4, threads=2)
    assert table(apart) == reference
    assert len(apart.manifest["workers"]) == 2
    assert all(each["cpu_seconds"] > 0 for each in apart.manifest["workers"])
    assert not multiprocessing.active_children()


def test_every_boundary_in_this_process_resumes_byte_for_byte(launch, monkeypatch, stop_at):
    count = []
    monkeypatch.setattr(signals, "asked", lambda: count.append(1))
    alone = functools.partial(experiment, processes=1)
    record, _ = launch(alone, repeats=4)
    reference = table(record)
    shutil.rmtree(record.path)
    assert len(count) > 30
    for boundary in range(len(count)):
        stop_at(boundary)
        with pytest.raises(Interrupted):
            launch(alone, repeats=4)
        stop_at(None)
        record, _ = launch(alone, repeats=4)
        assert table(record) == reference, boundary
        shutil.rmtree(record.path)


def test_stopped_processes_hand_in_their_states_and_one_goes_on_from_them(launch, out, monkeypatch):
    slow = [(repeat, 40, 0.02) for repeat in range(3)]
    reference = table(launch(functools.partial(experiment, jobs=slow), repeats=3, threads=3)[0])
    shutil.rmtree(out)
    collected = []
    real = crew_module._Jobs.state_dict

    def state_dict(self):
        found = real(self)
        collected.append({index: tree.tree[0]["index"] for index, tree in found["live"].items()})
        return found

    monkeypatch.setattr(crew_module._Jobs, "state_dict", state_dict)
    made = []
    real_init = crew_module._Jobs.__init__

    def remember(self, collect):
        real_init(self, collect)
        made.append(self)

    def when_all_are_at_work():
        far = [share for share in made[0].shares.values() if share > 0.1] if made else []
        return signals.signal.SIGTERM if len(far) == 3 else None

    def stopping(run):
        with monkeypatch.context() as patch:
            patch.setattr(crew_module._Jobs, "__init__", remember)
            patch.setattr(signals, "asked", when_all_are_at_work)
            experiment(run, jobs=slow)

    with pytest.raises(Interrupted):
        launch(stopping, repeats=3, threads=3)
    assert not multiprocessing.active_children()
    assert set(collected[-1]) == {0, 1, 2}
    assert all(0 < index < 40 for index in collected[-1].values())
    assert [path.suffix for path in out.glob("coin/train/*")] == [".checkpoint"]
    record, _ = launch(functools.partial(experiment, jobs=slow, processes=1), repeats=3)
    assert table(record) == reference


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_diverges_is_noted_and_the_others_go_on(launch, processes):
    def diverging(run):
        with run.crew(processes) as crew:
            jobs = range(3)
            for repeat, total in crew.map(crew_jobs.diverge, jobs, replicate=lambda job: job):
                run.write("curve", {"step": 0, "loss": total}, repeat)

    record, _ = launch(diverging, repeats=3, threads=2)
    assert record.status is Status.COMPLETE
    assert table(record).decode().splitlines()[1:] == ["0,0,0,4.0", "0,2,0,4.0"]
    (entry,) = record.manifest["diverged"]
    assert (entry["repeat"], entry["step"]) == (1, 2)
    assert entry["message"] == "the total is nan; the rows before it are kept"


def test_without_replicates_the_run_diverges(launch):
    def diverging(run):
        with run.crew(1) as crew:
            for _, total in crew.map(crew_jobs.diverge, [0, 1, 2]):
                run.write("curve", {"step": 0, "loss": total}, 0)

    record, _ = launch(diverging)
    assert record.status is Status.DIVERGED


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (crew_jobs.fail, r"a worker failed: IndexError: no item [01]"),  # whichever is first
        (crew_jobs.die, r"a worker process died \(out of memory\?\); give fewer --threads"),
    ],
)
def test_a_failure_is_one_sentence_and_leaves_no_process(launch, out, function, message):
    def failing(run):
        with run.crew() as crew:
            list(crew.map(function, [0, 1, 2]))

    with pytest.raises(ToolboxError, match=message):
        launch(failing, threads=2)
    assert not multiprocessing.active_children()
    assert [path.suffix for path in out.glob("coin/train/*")] == [".json"]
