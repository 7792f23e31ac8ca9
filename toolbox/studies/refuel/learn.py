"""The iterations of all methods at once: collect with the current policies, fit, repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolbox.core import memory
from toolbox.core.crew import Worker
from toolbox.core.run import Run

from . import methods as m
from . import values
from .data import (
    Floats,
    Game,
    Ints,
    Maps,
    base_policy,
    cumulative,
    draw_luck,
    draw_maps,
    roll,
)  # fmt: skip
from .methods import METHODS, Method
from .model import Policies

SUPERVISED_DIALOGUES = 8192
SUPERVISED_STEPS = 400
LONG = 50_000

Member = tuple[Method, float]


@dataclass(frozen=True)
class Setting:
    """What a training is told: the game, the sizes and the grid of strengths."""

    game: Game
    clarify: float
    answer: float
    iterations: int
    pairs: int
    steps: int
    batch: int
    rate: float
    strengths: tuple[float, ...]
    policy: str
    width: int
    judge: str
    noise: float
    labels: str = "true"
    replay: bool = False
    kl: float = 0.0


class Group:
    """Members that share a loss: (method, strength), their policies, the data of an iteration."""

    def __init__(self, members: list[Member], setting: Setting, policies: Any = None) -> None:
        self.members, self.setting = members, setting
        game = setting.game
        inputs = game.inputs() if setting.policy == "mlp" else None
        plain = Policies(inputs, game.states, game.answers, setting.width)
        self.policies: Any = plain if policies is None else policies
        self.strength = torch.tensor([s for _, s in members])[:, None]
        self.valid = torch.zeros(len(members), dtype=torch.int64)
        self.ended = np.full(len(members), -1)

    @property
    def changing(self) -> list[Any]:
        """Everything that training and collecting change."""
        return [*self.policies.changing, self.valid, self.ended, *self.pool()]

    def pool(self) -> list[Tensor]:
        """The data of an iteration."""
        return []

    def collect(self, worker: Worker, repeat: int, t: int, maps: Maps, base: Floats) -> None:
        """Data of iteration t ."""

    def batch_loss(self, uniform: Tensor) -> Tensor:
        """Loss on a batch; uniform : (B,), which entries of the pool are taken."""
        raise NotImplementedError

    def step(self, uniform: Tensor, rate: float) -> None:
        """One step for every member."""
        self.policies.step(self.batch_loss(uniform), rate)

    def entries(self, uniform: Tensor) -> Tensor:
        """Pool entries, (M, B), uniform on the valid ones of each member."""
        last = (self.valid - 1).clamp(min=0)[:, None]
        return (uniform * self.valid[:, None]).long().minimum(last)


class PairGroup(Group):
    """Members that learn from pairs of answers."""

    def __init__(self, members: list[Member], setting: Setting, policies: Any = None) -> None:
        super().__init__(members, setting, policies)
        self.fixed = members[0][0].group == "offline"
        self.size = setting.pairs * (setting.iterations if self.fixed else 1)
        shape = (len(members), self.size)
        self.first, self.second = (torch.zeros(shape, dtype=torch.int32) for _ in range(2))
        self.target, self.old = torch.zeros(shape), torch.zeros(shape)
        loss = [
            strength / m.DPO_STRENGTH if each.loss == "DPO" else 0.0 for each, strength in members
        ]
        self.dpo = torch.tensor(loss)[:, None]

    def pool(self) -> list[Tensor]:
        """Answers by number of (state, answer), eta (R - R'), and the old log-ratio."""
        return [self.first, self.second, self.target, self.old]

    def collect(self, worker: Worker, repeat: int, t: int, maps: Maps, base: Floats) -> None:
        """Pairs whose two answers differ, packed to the front of each member's row."""
        if self.fixed and t > 0:
            return
        s, game = self.setting, self.setting.game
        methods = [each for each, _ in self.members]
        with torch.no_grad():
            logits = self.policies.logits().double()
        policies = torch.softmax(logits, dim=2).numpy()
        if self.fixed:  # one data set serves all its members
            methods, policies = methods[:1], policies[:1]
        for part in range(s.iterations if self.fixed else 1):
            rng = worker.rng(repeat, "fixed" if self.fixed else "pairs", t + part)
            found = m.collect_pairs(
                rng, game, maps, methods, cumulative(policies), cumulative(base), s.pairs, s.judge,
                s.noise, s.replay, s.labels,
            )  # fmt: skip
            self._pack(found, slice(part * s.pairs, (part + 1) * s.pairs))
        first, second = self.first.long(), self.second.long()
        table = logits.reshape(len(self.members), -1)
        self.old[:] = (table.gather(1, first) - table.gather(1, second)).float()
        if s.kl > 0:  # the reward of the dialogue less the price of leaving the base at turn h
            moved = table - torch.log(torch.from_numpy(base)).flatten()
            price = moved.gather(1, first) - moved.gather(1, second)
            self.target -= self.strength * s.kl * price.float()
        self._settle(t)

    def _pack(self, found: m.Pairs, columns: slice) -> None:
        answers = self.setting.game.answers
        shape = (len(self.members), found.state.shape[1])
        for name, answer in (("first", found.first), ("second", found.second)):
            flat = torch.from_numpy(found.state.astype(np.int32) * answers + answer)
            getattr(self, name)[:, columns] = flat.expand(shape)
        apart = torch.from_numpy((found.reward[0] - found.reward[1]).astype(np.float32))
        self.target[:, columns] = self.strength * apart.expand(shape)

    def _settle(self, t: int) -> None:
        """Drop pairs of equal answers, and for DPO ties; end members that have no pair left."""
        good = (self.first != self.second) & ((self.dpo == 0) | (self.target != 0))
        order = torch.argsort((~good).to(torch.uint8), dim=1, stable=True)
        for each in self.pool():
            each[:] = each.gather(1, order)
        left = good.sum(dim=1)
        self.ended[(left.cpu().numpy() == 0) & (self.ended < 0)] = t
        self.valid[:] = left * torch.from_numpy(self.ended < 0).to(left.device)

    def batch_loss(self, uniform: Tensor) -> Tensor:
        """The regression or DPO; members without pairs stay where they are."""
        chosen = self.entries(uniform)
        first, second, target, old = (each.gather(1, chosen) for each in self.pool())
        table = self.policies.logits().flatten(1)
        delta = table.gather(1, first.long()) - table.gather(1, second.long()) - old
        return (m.pair_loss(delta, target, self.dpo) * (self.valid > 0)).sum()


class WholeGroup(Group):
    """Members that learn from whole dialogues: RLOO and PPO."""

    def __init__(self, members: list[Member], setting: Setting, policies: Any = None) -> None:
        super().__init__(members, setting, policies)
        shape = (len(members), 2 * setting.pairs, setting.game.horizon)
        self.said = torch.zeros(shape, dtype=torch.int32)
        self.gain, self.old = torch.zeros(shape), torch.zeros(shape)
        self.clip = (m.CLIP_STRENGTH * self.strength)[..., None]

    def pool(self) -> list[Tensor]:
        """Answers by number of (state, answer), advantages, and the old log-probabilities."""
        return [self.said, self.gain, self.old]

    def collect(self, worker: Worker, repeat: int, t: int, maps: Maps, base: Floats) -> None:
        """Two dialogues for each first message; as many judged dialogues as the pairs have."""
        s, game = self.setting, self.setting.game
        with torch.no_grad():
            logs = torch.log_softmax(self.policies.logits().double(), dim=2)
        sums = cumulative(logs.exp().numpy())
        rng = worker.rng(repeat, "whole", t)
        n, both, reward = m.collect_whole(
            rng, game, maps, sums, s.pairs, s.judge, s.noise, s.labels
        )
        state = np.stack([each.state for each in both], axis=1)
        answer = np.stack([each.answer for each in both], axis=1)
        flat = (state * game.answers + answer).reshape(len(self.members), -1, game.horizon)
        self.said[:] = torch.from_numpy(flat)
        for i, (each, _) in enumerate(self.members):
            gain = m.advantages(each.loss, n, state[i], reward[:, i], game.states)
            gain = gain / max(float(gain.std()), 1e-8)
            self.gain[i] = torch.from_numpy(gain.reshape(-1, game.horizon)).float()
        index = self.said.long().flatten(1)
        self.old[:] = logs.flatten(1).gather(1, index).view_as(self.old)
        self.valid[:] = s.pairs

    def batch_loss(self, uniform: Tensor) -> Tensor:
        """The clipped surrogate on both dialogues of each pair in the batch."""
        chosen = self.entries(uniform)
        both = torch.cat([chosen, chosen + self.setting.pairs], dim=1)[..., None]
        wide = both.expand(-1, -1, self.setting.game.horizon)
        said, gain, old = (each.gather(1, wide) for each in self.pool())
        table = torch.log_softmax(self.policies.logits(), dim=2).flatten(1)
        new = table.gather(1, said.long().flatten(1)).view_as(old)
        return m.clipped_loss(new - old, gain, self.clip).sum()


@dataclass
class Learned:
    """What the iterations of one replicate leave.

    right : (2, T + 1, M, S) chances of the right answers by state; M as in `members_of`
    kl : (T + 1, M, S) divergence of the policy from the base, nats
    ended : (M,) iteration in which a member had no pair left, or -1
    base, base_right : the supervised policy, (S, A), and its chances, (2, S)
    """

    right: Floats
    kl: Floats
    ended: Ints
    base: Floats
    base_right: Floats


@dataclass(frozen=True)
class Job:
    """One replicate."""

    setting: Setting
    names: tuple[str, ...]
    repeat: int


def members_of(names: tuple[str, ...], strengths: tuple[float, ...]) -> list[Member]:
    """Every method at every strength, methods first."""
    return [(METHODS[name], strength) for name in names for strength in strengths]


def supervised(worker: Worker, s: Setting, maps: Maps, repeat: int) -> Policies:
    """The base policy: fitted to dialogues of the fixed chances."""
    game = s.game
    inputs = game.inputs() if s.policy == "mlp" else None
    policies = Policies(inputs, game.states, game.answers, s.width)
    policies.start(policies.draw(worker.rng(repeat, "initial"))[None])
    table = cumulative(base_policy(game, maps, s.clarify, s.answer))[None]
    luck = draw_luck(worker.rng(repeat, "supervised"), game, SUPERVISED_DIALOGUES)
    made = roll(game, maps, table, luck, np.zeros((1, 1, 1), int))
    index = made.state.astype(int) * game.answers + made.answer
    counts = np.bincount(index.ravel(), minlength=game.states * game.answers)
    share = torch.tensor(counts / counts.sum(), dtype=torch.float32)
    rate = 0.01 if s.policy == "mlp" else 0.1
    for step in worker.steps(SUPERVISED_STEPS, *policies.changing, label="supervised steps"):
        logs = torch.log_softmax(policies.logits(), dim=2).flatten(1)
        policies.step(-(share * logs).sum(), rate * (1 - step / SUPERVISED_STEPS))
    return policies


def learn(worker: Worker, job: Job) -> Learned:
    """All methods and strengths of one replicate, from the same supervised start."""
    s, repeat = job.setting, job.repeat
    maps = draw_maps(worker.rng(repeat, "maps"), s.game)
    start = supervised(worker, s, maps, repeat)
    base = start.probabilities()[0]
    every = members_of(job.names, s.strengths)
    groups: list[Group] = []
    kinds: dict[str, type[Group]]
    kinds = {"pairs": PairGroup, "offline": PairGroup, "whole": WholeGroup}
    for kind, group_of in kinds.items():
        members = [member for member in every if member[0].group == kind]
        if members:
            groups.append(group_of(members, s))
            groups[-1].policies.start(start.flat.detach().expand(len(members), -1))
    trace: list[Floats] = [
        np.empty((3, s.iterations + 1, len(group.members), s.game.states)) for group in groups
    ]
    record(groups, trace, 0, maps, base)
    changing = [state for group in groups for state in group.changing]
    for t in worker.cells(range(s.iterations), "iterations", *changing, *trace):
        for index in worker.steps(len(groups), *changing, label="collections"):
            groups[index].collect(worker, repeat, t, maps, base)
        rng = worker.rng(repeat, "batches", t)
        uniform = torch.from_numpy(rng.random((s.steps, s.batch), dtype=np.float32))
        for step in worker.steps(s.steps, *changing):
            for group in groups:
                offline = isinstance(group, PairGroup) and group.fixed
                if step == 0 and not offline:
                    group.policies.reset()
                done = step / s.steps
                if offline:
                    done = (t + done) / s.iterations
                group.step(uniform[step], s.rate * (1.0 - done))
        record(groups, trace, t + 1, maps, base)
    found = [member for group in groups for member in group.members]
    order = sorted(range(len(found)), key=lambda i: every.index(found[i]))
    both = np.concatenate(trace, axis=2)[:, :, order]
    ended = np.concatenate([group.ended for group in groups])[order]
    right = values.chances_by_state(s.game, maps, base)
    return Learned(both[:2], both[2], ended, base, right)


def record(groups: list[Group], trace: list[Floats], t: int, maps: Maps, base: Floats) -> None:
    """Note what matters of each policy after t iterations."""
    for group, noted in zip(groups, trace, strict=True):
        policies = group.policies.probabilities()
        noted[:2, t] = values.chances_by_state(group.setting.game, maps, policies)
        tiny = np.finfo(float).tiny
        noted[2, t] = (policies * np.log(np.maximum(policies, tiny) / base)).sum(axis=-1)


def learned(
    run: Run, settings: list[tuple[Setting, tuple[str, ...]]]
) -> Iterator[tuple[Job, Learned]]:
    """Every replicate of every setting, on as many cores as the run has; replicates outermost."""
    for setting, names in settings:
        require_memory(run, setting, [METHODS[name] for name in names])
    jobs = [Job(*each, repeat) for repeat in range(run.repeats) for each in settings]
    work = sum(
        len(members_of(job.names, job.setting.strengths)) * job.setting.iterations
        * (job.setting.steps + job.setting.pairs / 10) for job in jobs
    )  # fmt: skip
    # Starting processes costs seconds each, which small runs do not have.
    with run.crew(None if work > LONG else 1) as crew:
        yield from crew.map(learn, jobs, "replicates", replicate=lambda job: job.repeat)


def require_memory(run: Run, s: Setting, chosen: list[Method]) -> None:
    """Refuse sizes that this machine cannot hold."""
    members = len(s.strengths)
    kinds = [each.group for each in chosen]
    pool = kinds.count("pairs") + kinds.count("offline") * s.iterations
    pool += 2 * s.game.horizon * kinds.count("whole")
    rolling = len(chosen) * members * s.pairs * (s.game.answers + 8 * s.game.horizon) * 8
    network = len(chosen) * members * s.game.states * (4 * s.width + 2 * s.game.answers) * 4
    size = min(run.threads, run.repeats) * (members * pool * s.pairs * 40 + network + rolling)
    memory.need(size, "the pairs", "pairs", s.pairs)
