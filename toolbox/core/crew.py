"""Workers of a run: jobs that do not need each other, done in processes of one thread each.

A job is a function of a module, `function(worker, job)`, that loops with `worker.steps` as an
experiment does with `run.steps`. At a checkpoint every worker hands in where its job is; a resumed
run gives each job its place back, however many processes it then has.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, TypeVar

from toolbox.core import compute, divergence, processes, provenance, signals, states
from toolbox.core.errors import Diverged, ToolboxError
from toolbox.core.loop_progress import LoopProgress, share_of
from toolbox.core.looping import Looping
from toolbox.core.loops import END, Loop, Loops
from toolbox.core.states import Tree

if TYPE_CHECKING:
    from toolbox.core.run import Run

J = TypeVar("J")
R = TypeVar("R")
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 30.0
"""How long a stop waits for the state of a worker whose steps are long."""


class Worker(Looping):
    """What a job sees of the run: its seed and device, random streams and loops."""

    def __init__(
        self,
        seed: int,
        repeats: int,
        device: str,
        boundary: Callable[[Worker, signal.Signals | None], None],
        saved: Any,
    ) -> None:
        self.seed, self.repeats, self._device = seed, repeats, device
        self._shown = LoopProgress(quiet=True)
        self._loops = Loops(Path(gettempdir()), lambda stop: boundary(self, stop), self._shown)
        if saved:
            self._loops.resume(saved, lambda: None)

    @property
    def device(self) -> str:
        """The torch device to compute on."""
        return self._device

    def check_finite(self, value: Any, what: str, step: int | None = None) -> None:
        """End this job as diverged at the first value that is not finite, as `Run.check_finite`.

        Errors: `Diverged`, which the job lets pass.
        """
        bad = divergence.not_finite(value)
        if bad is not None:
            error = Diverged(f"{what} is {bad}; the rows before it are kept")
            error.step = self._loops.step() if step is None else step
            self._loops.unwind()
            raise error


class _Jobs:
    """Where the jobs of one `map` are; the state of its loop."""

    def __init__(self, collect: Callable[[], None]) -> None:
        self.collect = collect
        self.done: dict[int, Any] = {}
        """Trees of outcomes that the experiment has not had yet."""
        self.diverged: dict[int, list[Any]] = {}
        """Message and step of jobs that diverged."""
        self.live: dict[int, Any] = {}
        """Trees of the loops of jobs under way, as last known."""
        self.shares: dict[int, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Asks the workers where they are."""
        self.collect()
        done, live = ({k: Tree(v) for k, v in each.items()} for each in (self.done, self.live))
        return {"done": done, "live": live, "diverged": self.diverged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done, self.live = ({k: v.tree for k, v in state[n].items()} for n in ("done", "live"))
        self.diverged = state["diverged"]

    def take(self, index: int, what: str, value: Any) -> None:
        """A message of the worker that does job `index`."""
        if what == "at":
            self.shares[index] = value
        elif what == "state":
            self.live[index] = value
        elif what == "error":
            raise ToolboxError(f"a worker failed: {value}")
        else:
            (self.done if what == "done" else self.diverged)[index] = value
            self.live.pop(index, None)
            self.shares.pop(index, None)

    def over(self, index: int) -> bool:
        return index in self.done or index in self.diverged


class Crew:
    """Made by `run.crew()`."""

    def __init__(self, run: Run, most: int, denormals: bool) -> None:
        self.run, self.most, self.denormals = run, most, denormals
        self.team: _Team | None = None

    def map(
        self,
        function: Callable[[Worker, J], R],
        jobs: Sequence[J],
        label: str = "jobs",
        replicate: Callable[[J], int] | None = None,
    ) -> Iterator[tuple[J, R]]:
        """Yield (job, outcome) in the order of the jobs, each once, over stops and resumes too.

        function : of a module; its outcome is made of plain values, arrays, tensors and dataclasses
        jobs : what pickle can hold, the same in every run
        replicate : job -> its replicate; a job that diverges is then noted, and not yielded

        Errors: `ToolboxError` in one sentence when a worker fails or dies; `Diverged`.
        """
        run = self.run
        state = _Jobs(lambda: at_work.collect())
        at_work = _InThisProcess(self, function, jobs, state)
        if self.most > 1 and len(jobs) > 1:
            at_work = self.team = _Team(self, function, jobs, state)
        known = [replicate(job) for job in jobs] if replicate else []

        def fetch(index: int) -> Any:
            state.done.pop(index - 1, None)  # what it came to is written
            while loop.index < len(jobs):
                index = loop.index
                at_work.until(index)
                if index in state.done:
                    return jobs[index], states.decode(state.done[index])
                message, step = state.diverged[index]
                if replicate is None:
                    run.check_job(message, step)
                repeat = known[index]
                cells = known.count(repeat)
                cell = str(jobs[index]) if cells > 1 else ""
                divergence.note(run.manifest, repeat, step, message, cells, cell)
                loop.index += 1
            return END

        loop = Loop(
            label, [state], fetch, len(jobs), steps=True,
            ahead=lambda: sum(i > loop.index for i in state.done) + sum(state.shares.values()),
        )  # fmt: skip
        return run.loop(loop)

    def close(self) -> None:
        """Let the workers go."""
        if self.team is not None:
            self.team.close()


class _InThisProcess:
    """The jobs are done in this process, one after the other."""

    def __init__(self, crew: Crew, function: Any, jobs: Sequence[Any], state: _Jobs) -> None:
        self.crew, self.function, self.jobs, self.state = crew, function, jobs, state
        self.current: tuple[int, Worker] | None = None

    def until(self, index: int) -> None:
        """Do the jobs up to this one."""
        run, state = self.crew.run, self.state
        if state.over(index):
            return
        worker = Worker(run.seed, run.repeats, run.device, self._boundary, state.live.get(index))
        self.current = index, worker
        alone = compute.one_thread(self.crew.denormals)
        with alone if run.device == "cpu" else contextlib.nullcontext():
            what, value = _outcome(self.function, worker, self.jobs[index])
        self.current = None
        state.take(index, what, value)

    def _boundary(self, worker: Worker, stop: signal.Signals | None) -> None:
        assert self.current is not None
        self.state.shares[self.current[0]] = share_of(worker._loops.active)
        worker._loops.due = self.crew.run.look_around(stop)

    def collect(self) -> None:
        """Note where the job under way is."""
        if self.current is not None:
            index, worker = self.current
            self.state.live[index] = worker._loops.tree()


class _Team(_InThisProcess):
    """Processes, each on one job at a time."""

    def __init__(self, crew: Crew, function: Any, jobs: Sequence[Any], state: _Jobs) -> None:
        super().__init__(crew, function, jobs, state)
        self.busy: dict[Any, int] = {}
        self.waiting: list[int] | None = None
        self.members: list[Any] = []
        self.used: dict[Any, dict[str, Any]] = {}

    def until(self, index: int) -> None:
        """Wait until this job is over; the others go on meanwhile."""
        if self.waiting is None and not self.state.over(index):
            self._start(index)
        while not self.state.over(index):
            self.crew.run.look_around()
            for pipe in connection.wait(list(self.busy), POLL_SECONDS):
                self._take(pipe)

    def _start(self, first: int) -> None:
        waiting = [i for i in range(first, len(self.jobs)) if not self.state.over(i)]
        self.waiting = waiting
        server = processes.fork_server([self.function.__module__, __name__])
        run = self.crew.run
        about = run.seed, run.repeats, run.device, self.crew.denormals
        for _ in range(min(self.crew.most, len(waiting))):
            ours, theirs = server.Pipe()
            process = server.Process(target=_serve, args=(theirs, *about), daemon=True)
            with processes.without_main():
                process.start()
            theirs.close()
            self.members.append(process)
            self._give(ours)

    def _give(self, pipe: Any) -> None:
        self.busy.pop(pipe, None)
        if not self.waiting:
            _send(pipe, ("end",))
            return
        index = self.waiting.pop(0)
        self.busy[pipe] = index
        _send(pipe, ("job", self.function, self.jobs[index], self.state.live.get(index)))

    def _take(self, pipe: Any) -> str:
        index = self.busy[pipe]
        try:
            what, value, self.used[pipe] = pickle.loads(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            del self.busy[pipe]
            if signals.asked() is not None:  # what is last known of it goes into the checkpoint
                return "gone"
            raise ToolboxError(
                "a worker process died (out of memory?); give fewer --threads, "
                "the same line goes on from the last checkpoint"
            ) from None
        self.state.take(index, what, value)
        if self.state.over(index):
            self._give(pipe)
        return str(what)

    def collect(self) -> None:
        """Ask every worker where it is; one that does not answer in time starts from where it was
        last known to be."""
        asked = dict(self.busy)
        for pipe in asked:
            _send(pipe, ("state",))
        end = time.monotonic() + PATIENCE_SECONDS
        while asked and (left := end - time.monotonic()) > 0:
            for pipe in connection.wait(list(asked), left):
                if self._take(pipe) != "at":
                    asked.pop(pipe)

    def close(self) -> None:
        """End the processes, and note what they used."""
        run = self.crew.run
        run.manifest["workers"] = [*run.manifest.get("workers", ()), *self.used.values()]
        for process in self.members:
            process.kill()
            process.join()
        self.members.clear()


# ----------------------------------------------------------------------------- in the process


def _outcome(function: Any, worker: Worker, job: Any) -> tuple[str, Any]:
    try:
        return "done", states.encode(function(worker, job))
    except Diverged as error:
        return "diverged", [str(error), error.step]


def _send(pipe: Any, message: Any) -> None:
    # By plain pickle: torch would pass tensors as shared memory that dies with their sender.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the reader notices
        pipe.send_bytes(pickle.dumps(message))


def _serve(pipe: Any, seed: int, repeats: int, device: str, denormals: bool) -> None:
    """The life of a worker: the parent alone hears signals, and asks for states."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    # The parent has gone: so does this process.
    with contextlib.suppress(EOFError, ConnectionResetError), compute.one_thread(denormals):
        while True:
            message = pickle.loads(pipe.recv_bytes())
            if message[0] == "end":
                return
            if message[0] == "state":  # asked just when the job was over
                continue
            _, function, job, saved = message
            worker = Worker(seed, repeats, device, lambda w, _: _look_up(pipe, w), saved)
            try:
                what, value = _outcome(function, worker, job)
            except (EOFError, ConnectionResetError):
                return
            except Exception as error:
                traceback.print_exc()  # the parent's message is one line; a bug needs the place
                what, value = "error", f"{type(error).__name__}: {error}"
            _report(pipe, what, value)


def _look_up(pipe: Any, worker: Worker) -> None:
    """Between two steps: answer what was asked, and say how far the job is."""
    while pipe.poll():
        pickle.loads(pipe.recv_bytes())  # "state" is all that is asked of one at work
        _report(pipe, "state", worker._loops.tree())
    _report(pipe, "at", share_of(worker._loops.active))
    worker._loops.due = time.monotonic() + POLL_SECONDS


def _report(pipe: Any, what: str, value: Any) -> None:
    _send(pipe, (what, value, provenance.usage()))
