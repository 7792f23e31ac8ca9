"""One trainer for all arms and replicates of a call.

Members are trained in groups. Small models of one replicate make one group, a stacked ensemble; of
larger ones each member is a group of its own, because batching gains nothing there and a process
per core does. What is in a group follows from the setting alone, every group computes on one
thread, and so no number depends on cores, processes or on how many replicates run.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing.connection
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from toolbox.core import provenance, signals
from toolbox.core.errors import ToolboxError
from toolbox.core.processes import fork_server
from toolbox.core.run import Run

from .plan import RECURRENT, Member, Setting

ENSEMBLE_TOKENS = 512
"""Tokens of a member's step up to which members are stacked (benchmarks/icl.py measures it)."""
FLOPS = 1e10
"""What one core does of them in a second here, for a guess at the time and for nothing else."""
PROCESS_SECONDS = 6.0
"""Guessed time above which starting processes pays."""
_POLL_SECONDS = 0.2

Outcome = dict[str, Any]


def groups(setting: Setting, members: Sequence[Member], device: str) -> list[list[int]]:
    """Indices of the members that are trained together."""
    # A recurrent model is a loop over tokens of tiny products, a GPU waits for them alike: both
    # gain from stacking at every size.
    stack = setting.member_tokens <= ENSEMBLE_TOKENS
    if not (stack or device != "cpu" or setting.model in RECURRENT):
        return [[index] for index in range(len(members))]
    together: dict[tuple[int, int], list[int]] = {}
    for index, member in enumerate(members):
        size = len(member.arm.tasks) if setting.per_task_batch else 1
        together.setdefault((member.repeat, size), []).append(index)
    return list(together.values())


def train(
    run: Run,
    setting: Setting,
    members: Sequence[Member],
    label: str = "member-steps",
    saved: Any = None,
    before: Any = None,
) -> list[Outcome]:
    """Train every member until it is decided; outcomes in the order of `members`.

    saved : what `run.restore()` returned, when it was saved in this stage
    before : whatever earlier stages came to; kept in this stage's checkpoints as `before`
    """
    device = run.device
    sets = groups(setting, members, device)
    work = Work(setting, members, sets, run.seed, device)
    if saved is not None:
        work.done, work.live = dict(saved["done"]), dict(saved["live"])
    pending = [index for index in range(len(sets)) if index not in work.done]
    jobs = min(int(run.manifest["machine"]["threads"]), len(pending))
    apart = device == "cpu" and jobs > 1 and work.seconds(pending) > PROCESS_SECONDS

    def state() -> Any:
        return {"before": before, "done": dict(work.done), "live": dict(work.live)}

    total = setting.steps * len(members)
    with run.progress(total, label, work.steps_done()) as progress:
        steps = (
            _apart(run, work, pending, jobs, state) if apart else _here(run, work, pending, state)
        )
        for _ in steps:
            progress.update(max(0, work.steps_done() - progress.done))
    by_member: dict[int, Outcome] = {}
    for index, outcomes in work.done.items():
        by_member |= dict(zip(sets[index], outcomes, strict=True))
    return [by_member[index] for index in range(len(members))]


class Work:
    """The groups of a call: which are done, and the last known state of those under way."""

    def __init__(
        self,
        setting: Setting,
        members: Sequence[Member],
        sets: Sequence[Sequence[int]],
        seed: int,
        device: str,
    ) -> None:
        self.setting, self.members, self.sets = setting, members, sets
        self.seed, self.device = seed, device
        self.done: dict[int, list[Outcome]] = {}
        self.live: dict[int, Any] = {}
        self.at: dict[int, int] = {}
        """Member-steps done, for the progress line."""

    def job(self, index: int) -> tuple[Any, ...]:
        """What a process needs to go on with a group."""
        mine = [self.members[i] for i in self.sets[index]]
        return self.setting, mine, self.seed, self.device, self.live.get(index)

    def seconds(self, pending: Sequence[int]) -> float:
        """A guess, high because it knows no early end, at the time of these groups on one core."""
        s = self.setting
        parameters = 12 * s.layers * s.embd**2
        count = sum(len(self.sets[index]) for index in pending)
        return 6.0 * parameters * s.member_tokens * s.steps * count / FLOPS

    def steps_done(self) -> int:
        """Member-steps that need not be done any more."""
        full = sum(self.setting.steps * len(self.sets[index]) for index in self.done)
        return full + sum(at for index, at in self.at.items() if index not in self.done)


def _ensemble(job: tuple[Any, ...]) -> Any:
    from .ensemble import Ensemble

    setting, members, seed, device, state = job
    ensemble = Ensemble(setting, members, seed, device)
    if state is not None:
        ensemble.load(state)
    return ensemble


def _progress(ensemble: Any) -> int:
    gone = len(ensemble.members) - len(ensemble.alive)
    return int(gone * ensemble.setting.steps + len(ensemble.alive) * ensemble.t)


# --------------------------------------------------------------------------------- in this process


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: sums do not then depend on how many cores there are.

    Numbers below 1e-38 count as zero in it: late in training they abound, and slow a step of
    a CPU by a quarter.
    """
    import torch

    _keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def _keep_freed_memory() -> None:
    """From here on, let the C library keep what is freed for the next step.

    Else it may hand the end of the heap back to the system and fault it in again, many times in
    every step, as the addresses happen to lie; that was seen to take a quarter of the time.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 25)
        libc.mallopt(trim_threshold, 1 << 30)


def _here(run: Run, work: Work, pending: Sequence[int], state: Any) -> Iterator[None]:
    with one_thread():
        for index in pending:
            ensemble = _ensemble(work.job(index))

            def now(index: int = index, ensemble: Any = ensemble) -> Any:
                work.live[index] = ensemble.state()
                return state()

            while ensemble.alive:
                run.checkpoint(now)
                ensemble.block()
                work.at[index] = _progress(ensemble)
                yield
            work.done[index] = ensemble.outcomes()
            work.live.pop(index, None)


# ------------------------------------------------------------------------------ a process per core


def _apart(run: Run, work: Work, pending: Sequence[int], jobs: int, state: Any) -> Iterator[None]:
    waiting = deque(pending)
    context = fork_server([f"{__package__}.ensemble"])
    busy: dict[Any, int] = {}
    processes = []
    used: dict[Any, dict[str, Any]] = {}

    def give(pipe: Any) -> None:
        if waiting:
            busy[pipe] = waiting.popleft()
            _send(pipe, ("go", work.job(busy[pipe])))
        else:
            _send(pipe, ("end", None))
            busy.pop(pipe, None)

    def take(pipe: Any) -> str:
        index = busy[pipe]
        try:
            what, value, used[pipe] = pickle.loads(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            del busy[pipe]
            if signals.asked() is not None:  # its last known state is in the checkpoint
                return "gone"
            raise ToolboxError(
                "a training process died (out of memory?); give fewer --threads, "
                "the same line goes on from the last checkpoint"
            ) from None
        if what == "at":
            work.at[index] = value
        elif what == "state":
            work.live[index] = value
        elif what == "error":
            raise ToolboxError(f"a training process failed: {value}")
        else:
            work.done[index] = value
            work.live.pop(index, None)
            give(pipe)
        return str(what)

    def collect() -> Any:
        for pipe in list(busy):
            _send(pipe, ("state", None))
            while pipe in busy and take(pipe) == "at":
                pass
        return state()

    try:
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            give(ours)
        while busy:
            run.checkpoint(collect)
            for pipe in multiprocessing.connection.wait(list(busy), _POLL_SECONDS):
                take(pipe)
            yield
    finally:
        run.manifest["workers"] = [*run.manifest.get("workers", ()), *used.values()]
        for process in processes:
            process.kill()
            process.join()


def _send(pipe: Any, message: Any) -> None:
    # By plain pickle: torch would pass tensors as shared memory that dies with their sender.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the reader notices
        pipe.send_bytes(pickle.dumps(message))


def _serve(pipe: Any) -> None:
    """The life of a training process: the parent alone hears signals, and asks for states."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    with one_thread(), contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            what, job = pickle.loads(pipe.recv_bytes())
            if what == "end":
                return
            if what == "state":  # asked just when a group was done
                continue
            try:
                _one(pipe, job)
            except (EOFError, ConnectionResetError):
                return
            except Exception as error:
                traceback.print_exc()  # the parent's message is one line; a bug needs the place
                _report(pipe, "error", f"{type(error).__name__}: {error}")
                return


def _one(pipe: Any, job: tuple[Any, ...]) -> None:
    ensemble = _ensemble(job)
    while ensemble.alive:
        while pipe.poll():
            pickle.loads(pipe.recv_bytes())  # "state" is all that is asked while one computes
            _report(pipe, "state", ensemble.state())
        ensemble.block()
        _report(pipe, "at", _progress(ensemble))
    _report(pipe, "done", ensemble.outcomes())


def _report(pipe: Any, what: str, value: Any) -> None:
    _send(pipe, (what, value, provenance.usage()))
