"""One trainer for all arms and replicates of a call.

Members are trained in groups. Small models of one replicate make one group, a stacked ensemble; of
larger ones each member is a group of its own, because batching gains nothing there and a process
per core does. What is in a group follows from the setting alone, every group computes on one
thread, and so no number depends on cores, processes or on how many replicates run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from toolbox.core import compute
from toolbox.core.crew import Worker
from toolbox.core.run import Run

from .cli import Training
from .plan import RECURRENT, Member, Outcome, member_tokens, sizes_of

ENSEMBLE_TOKENS = 512
"""Tokens of a member's step up to which members are stacked (benchmarks/icl.py measures it)."""
FLOPS = 1e10
"""What one core does of them in a second here, for a guess at the time and for nothing else."""
CARD_FLOPS = 3e13
"""The same of a GPU, from the 25 to 73 TFLOP/s that one H100 reached on the paper's network."""
COMPILE_SECONDS = 300.0
"""Guessed time of one member on a GPU above which `torch.compile` pays: it takes a minute or two
for twelve layers, and brings a part of the time at most."""
SAME_SUMS_TOKENS = 256
"""Tokens up to which the gradient of fused attention has one order of its sums."""
PROCESS_SECONDS = 6.0
"""Guessed time above which starting processes pays."""


def groups(setting: Training, members: Sequence[Member], device: str) -> list[list[int]]:
    """Indices of the members that are trained together."""
    # A recurrent model is a loop over tokens of tiny products, a GPU waits for them alike: both
    # gain from stacking at every size.
    stack = member_tokens(setting) <= ENSEMBLE_TOKENS
    if not (stack or device != "cpu" or setting.model in RECURRENT):
        return [[index] for index in range(len(members))]
    together: dict[tuple[int, int], list[int]] = {}
    for index, member in enumerate(members):
        size = len(member.arm.tasks) if setting.per_task_batch else 1
        together.setdefault((member.repeat, size), []).append(index)
    return list(together.values())


def train(
    run: Run, setting: Training, members: Sequence[Member], label: str = "groups of members"
) -> list[Outcome]:
    """Train every member until it is decided; outcomes in the order of `members`."""
    sets = groups(setting, members, run.device)
    jobs = [(index, setting, [members[i] for i in each]) for index, each in enumerate(sets)]
    by_member: dict[int, Outcome] = run.kept({})
    long = seconds(setting, len(members)) > PROCESS_SECONDS
    with run.crew(None if long else 1, denormals=False) as crew:
        for (index, _, _), outcomes in crew.map(train_group, jobs, label):
            by_member |= dict(zip(sets[index], outcomes, strict=True))
    if pays(setting, run.device):
        longest = max(outcome.longest_step for outcome in by_member.values())
        run.say(f"torch.compile took at most {longest:.0f} s; torch keeps what it compiled")
    return [by_member[index] for index in range(len(members))]


def train_group(worker: Worker, job: tuple[int, Training, list[Member]]) -> list[Outcome]:
    """Train the members of one group together; their outcomes."""
    from .ensemble import Ensemble

    compute.keep_freed_memory()
    _, setting, members = job
    long = sizes_of(setting).tokens > SAME_SUMS_TOKENS
    with (
        compute.products(setting.precision),
        compute.same_sums(long and worker.device != "cpu"),
    ):
        ensemble = Ensemble(
            setting, members, worker.seed, worker.device, compiled=pays(setting, worker.device)
        )
        for _ in worker.steps(setting.steps, ensemble):
            ensemble.advance()
            if not ensemble.alive:
                break
    return ensemble.outcomes()


def pays(setting: Training, device: str) -> bool:
    """Whether a network is compiled: on a GPU, where its steps take longer than compiling does.

    It follows from the setting alone, as all does that changes numbers.
    """
    return (
        device != "cpu"
        and setting.model == "gpt"
        and importlib.util.find_spec("triton") is not None
        and seconds(setting, 1) * FLOPS / CARD_FLOPS > COMPILE_SECONDS
    )


def seconds(setting: Training, members: int) -> float:
    """A guess, high because it knows no early end, at the time of these members on one core."""
    parameters = 12 * setting.layers * setting.embd**2
    return 6.0 * parameters * member_tokens(setting) * setting.steps * members / FLOPS
