"""The trainer: roll in with the current policy, reset once, regress the relative future."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolbox.core.errors import ParameterError

from .chat import Message, encode, respond, response_log_probability

User = Callable[[list[Message]], str]
Reward = Callable[[list[Message]], float]


@dataclass(frozen=True)
class Settings:
    """How to train.

    turns : turns H of a dialogue. pairs : pairs of dialogues in an iteration. steps, batch, rate :
    steps of Adam in an iteration, pairs in a step, and step size, which falls linearly to 0.
    eta : the regression's eta; the rewards' differences times eta should be of size one.
    tokens : most tokens of a response. temperature : of sampling and of the log-probabilities.
    longest : pairs of more tokens are dropped. chunk : dialogues that are sampled in one batch.
    """

    turns: int = 3
    pairs: int = 256
    steps: int = 60
    batch: int = 32
    rate: float = 1e-3
    eta: float = 1.0
    tokens: int = 16
    temperature: float = 1.0
    longest: int = 2048
    chunk: int = 128
    evaluated: int = 128


@dataclass
class Pair:
    """Two answers to one message: tokens cut after the answer, where it begins, R - R'."""

    first: list[int]
    second: list[int]
    start: int
    apart: float
    old: float = 0.0


class Refuel:
    """REFUEL for a causal language model with a chat template.

    model : a Hugging Face causal LM, with LoRA adapters (peft) or without
    user : messages so far, the last one the assistant's -> the user's next message
    reward : messages of a dialogue that ends with the assistant's -> its reward
    prompts : first messages of the user, one of which is drawn for each dialogue
    seed : of everything that is drawn
    accelerator : `accelerate.Accelerator()` of a script that `accelerate launch` starts in several
        processes, which all run the same lines. Each plays its share of the dialogues and takes its
        share of every batch; gradients are averaged. The result is that of one process, but for
        rounding, if user and reward depend on the messages alone

    Errors: `ParameterError` for settings that cannot work.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        user: User,
        reward: Reward,
        prompts: Sequence[str],
        settings: Settings | None = None,
        seed: int = 0,
        accelerator: Any = None,
    ) -> None:
        self.processes, self.rank, self.accelerator = 1, 0, accelerator
        self.trained = model
        """The model that losses are computed with: in several processes it averages gradients."""
        if accelerator is not None:
            self.processes, self.rank = accelerator.num_processes, accelerator.process_index
            model.to(accelerator.device)
        self.model, self.tokenizer, self.user, self.reward = model, tokenizer, user, reward
        self.prompts, self.settings, self.seed = list(prompts), settings or Settings(), seed
        if not self.prompts:
            raise ParameterError("prompts", prompts, "holds no first message", "give one or more")
        s = self.settings
        for name, low in (("turns", 1), ("pairs", 2), ("steps", 1), ("batch", 1), ("tokens", 1)):
            if getattr(s, name) < low:
                raise ParameterError(name, getattr(s, name), f"is below {low}", "raise it")
        for name in ("eta", "temperature", "rate"):
            if not getattr(s, name) > 0:
                raise ParameterError(name, getattr(s, name), "is not positive", "raise it")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Adapters can be switched off; a model that is trained whole needs a copy of its start.
        self.base = None if hasattr(model, "disable_adapter") else copy.deepcopy(model).eval()
        self.base_rewards: list[list[float]] = []
        model.eval()  # no dropout: the old log-probabilities must be those of the sampled policy
        if accelerator is not None:
            self.trained = accelerator.prepare_model(model)
            self.trained.eval()

    # ---------------------------------------------------------------------------------- dialogues

    def play(self, dialogues: list[list[Message]], turns: list[int], generator: Any) -> None:
        """Go on with dialogues that end with a user's message until each has its turns."""
        s = self.settings
        while True:
            waiting = [i for i, each in enumerate(dialogues) if len(each) < 2 * turns[i]]
            if not waiting:
                return
            for at in range(0, len(waiting), s.chunk):
                part = waiting[at : at + s.chunk]
                said = respond(self.model, self.tokenizer, [dialogues[i] for i in part],
                               s.tokens, s.temperature, generator)  # fmt: skip
                for i, text in zip(part, said, strict=True):
                    dialogues[i].append({"role": "assistant", "content": text})
                    if len(dialogues[i]) < 2 * turns[i]:
                        dialogues[i].append({"role": "user", "content": self.user(dialogues[i])})

    def begun(self, count: int, rng: np.random.Generator) -> list[list[Message]]:
        """Dialogues of one message each."""
        drawn = rng.integers(len(self.prompts), size=count)
        return [[{"role": "user", "content": self.prompts[i]}] for i in drawn]

    def streams(self, *key: int) -> tuple[np.random.Generator, torch.Generator]:
        """Independent random streams for one purpose."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=key)
        draw = torch.Generator(device=self.model.device)
        return np.random.default_rng(sequence), draw.manual_seed(int(sequence.generate_state(1)[0]))

    def shared(self, parts: int, function: Callable[[int], list[Any]]) -> list[Any]:
        """function(part) of every part in their order, each done by one of the processes."""
        mine = [function(part) for part in range(self.rank, parts, self.processes)]
        if self.processes == 1:
            return [each for part in mine for each in part]
        from accelerate.utils import gather_object

        # Process r did parts r, r + W, ...; one that had a part less adds an empty one.
        most = -(-parts // self.processes)
        every = gather_object(mine + [[]] * (most - len(mine)))
        ordered = [every[r * most + i] for i in range(most) for r in range(self.processes)]
        return [each for part in ordered for each in part]

    # -------------------------------------------------------------------------------------- pairs

    def collect_all(self, iteration: int) -> list[Pair]:
        """All pairs of an iteration, `settings.chunk` at a time."""
        s = self.settings

        def part(number: int) -> list[Pair]:
            return self.collect(iteration, number, min(s.chunk, s.pairs - number * s.chunk))

        return self.shared(-(-s.pairs // s.chunk), part)

    def collect(self, iteration: int, part: int, count: int) -> list[Pair]:
        """Some of the pairs of an iteration, with the log-ratios of the policy that wrote them.

        Pairs whose answers have the same tokens, or of too many, are dropped.
        """
        rng, generator = self.streams(1, iteration, part)
        judged = 1 + rng.integers(self.settings.turns, size=count)
        learned = [int(1 + rng.integers(n)) for n in judged]
        one = self.begun(count, rng)
        self.play(one, judged.tolist(), generator)
        two = [list(each[: 2 * h - 1]) for each, h in zip(one, learned, strict=True)]
        self.play(two, judged.tolist(), generator)
        pairs = []
        for first, second, h in zip(one, two, learned, strict=True):
            a, start = encode(self.tokenizer, first[: 2 * h])
            b, _ = encode(self.tokenizer, second[: 2 * h])
            if a != b and max(len(a), len(b)) <= self.settings.longest:
                pairs.append(Pair(a, b, start, self.reward(first) - self.reward(second)))
        with torch.no_grad():
            for at in range(0, len(pairs), self.settings.batch):
                some = pairs[at : at + self.settings.batch]
                for pair, ratio in zip(some, self.ratio(some).tolist(), strict=True):
                    pair.old = ratio
        return pairs

    def ratio(self, pairs: list[Pair], model: Any = None) -> Tensor:
        """log pi(y) - log pi(y') of each pair, (B,)."""
        rows = [(p.first, p.start) for p in pairs] + [(p.second, p.start) for p in pairs]
        model = self.model if model is None else model
        logs = response_log_probability(
            model, rows, self.tokenizer.pad_token_id, self.settings.temperature
        )
        return logs[: len(pairs)] - logs[len(pairs) :]

    def loss(self, pairs: list[Pair]) -> Tensor:
        """The regression: mean of ([log-ratio of y] - [log-ratio of y'] - eta (R - R'))^2."""
        return self._squares(pairs).mean()

    def _squares(self, pairs: list[Pair]) -> Tensor:
        device = self.model.device
        old = torch.tensor([pair.old for pair in pairs], device=device)
        apart = torch.tensor([pair.apart for pair in pairs], device=device)
        return (self.ratio(pairs, self.trained) - old - self.settings.eta * apart).square()

    def _backward(self, pairs: list[Pair]) -> float:
        """Gradients of the mean loss of a batch, of which each process takes its share."""
        if self.processes == 1:
            loss = self.loss(pairs)
            torch.autograd.backward(loss)
            return float(loss.detach())
        mine = pairs[self.rank :: self.processes]
        # All processes must take part; one without a pair adds nothing. Gradients are averaged.
        loss = self._squares(mine or pairs[:1]).sum() * (self.processes / len(pairs))
        loss = loss if mine else 0.0 * loss
        torch.autograd.backward(loss)
        return float(self.accelerator.reduce(loss.detach(), "mean"))

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam on what is trained."""
        chosen = [each for each in self.model.parameters() if each.requires_grad]
        return torch.optim.Adam(chosen, lr=self.settings.rate)

    def step(self, optimizer: torch.optim.Optimizer, pairs: list[Pair], step: int,
             rng: np.random.Generator) -> float:  # fmt: skip
        """One step on a batch of the pairs; its loss."""
        s = self.settings
        drawn = rng.choice(len(pairs), size=min(s.batch, len(pairs)), replace=False)
        for group in optimizer.param_groups:
            group["lr"] = s.rate * (1.0 - step / s.steps)
        optimizer.zero_grad()
        loss = self._backward([pairs[i] for i in drawn])
        optimizer.step()
        return loss

    # --------------------------------------------------------------------------------- evaluation

    def rewards(self, key: int) -> list[list[float]]:
        """Rewards after each turn, of the evaluation's dialogues by the current policy."""
        s = self.settings
        first, _ = self.streams(3)  # the same first messages each time
        begun = self.begun(s.evaluated, first)

        def part(number: int) -> list[list[float]]:
            _, generator = self.streams(2, key, number)
            dialogues = begun[number * s.chunk : (number + 1) * s.chunk]
            self.play(dialogues, [s.turns] * len(dialogues), generator)
            return [[self.reward(each[: 2 * n + 2]) for n in range(s.turns)] for each in dialogues]

        return self.shared(-(-s.evaluated // s.chunk), part)

    def evaluate(self, key: int) -> list[dict[str, float]]:
        """Mean reward and win rate (%) against the first evaluation, for each turn."""
        found = np.array(self.rewards(key), dtype=float)
        if not self.base_rewards:
            self.base_rewards.extend(found.tolist())
        base = np.array(self.base_rewards)
        wins = (found > base).mean(axis=0) + 0.5 * (found == base).mean(axis=0)
        return [
            {"turn": n + 1, "reward": float(found[:, n].mean()), "win_rate": 100 * float(wins[n])}
            for n in range(self.settings.turns)
        ]

    @torch.no_grad()
    def diagnose(self, pairs: list[Pair]) -> dict[str, float]:
        """Agreement of signs (%) on pairs, and their answers' mean log-ratio to the base (nats)."""
        some = pairs[: self.settings.chunk]
        moved = self.ratio(some).cpu().numpy() - np.array([pair.old for pair in some])
        apart = np.array([pair.apart for pair in some])
        decided = apart != 0
        agree = (np.sign(moved) == np.sign(apart))[decided]
        return {"agreement": 100 * float(agree.mean()) if decided.any() else 50.0}

    @torch.no_grad()
    def divergence(self, pairs: list[Pair]) -> float:
        """Estimate of KL(policy || base) of a response, nats, on answers that the policy wrote."""
        some = pairs[: self.settings.chunk]
        rows = [(pair.first, pair.start) for pair in some]
        pad, temperature = self.tokenizer.pad_token_id, self.settings.temperature
        ours = response_log_probability(self.model, rows, pad, temperature)
        if self.base is not None:
            theirs = response_log_probability(self.base, rows, pad, temperature)
        else:
            with self.model.disable_adapter():
                theirs = response_log_probability(self.model, rows, pad, temperature)
        return float((ours - theirs).mean())

    # ---------------------------------------------------------------------------------- the loop

    def train(self, iterations: int) -> Iterator[dict[str, float]]:
        """Iterate, and yield what each iteration came to; iteration 0 is the model as it was.

        Keys: iteration, pairs, loss, reward and win_rate (at the last turn).
        """
        yield {"iteration": 0, "pairs": 0, "loss": float("nan"), **self._last(0)}
        for t in range(iterations):
            pairs = self.collect_all(t)
            loss = float("nan")
            if pairs:  # all answers may have become equal
                optimizer, (rng, _) = self.optimizer(), self.streams(4, t)
                for step in range(self.settings.steps):
                    loss = self.step(optimizer, pairs, step, rng)
            yield {"iteration": t + 1, "pairs": len(pairs), "loss": loss, **self._last(t + 1)}

    def _last(self, key: int) -> dict[str, float]:
        last = self.evaluate(key)[-1]
        return {"reward": last["reward"], "win_rate": last["win_rate"]}
