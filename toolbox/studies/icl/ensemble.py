"""Members trained side by side as one stack of small models.

One flat buffer each for parameters, gradients and Adam's moments; the named parameters are views of
it, (E, ...) each. A member leaves when its outcome is decided. What is in an ensemble follows from
its replicate alone (see `trainer`), and so do a member's bytes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import by_hand, model
from .cli import Training
from .escape import NEVER, Track
from .on_device import Steps
from .plan import Member, Outcome, read_at, sizes_of
from .prompts import Drawing, Prompts, stream, tokens_of

BLOCK = 20
"""Steps between two looks at the outcomes; prompts are drawn this many steps at a time."""
ALIGN = 16
"""Every parameter begins at a multiple of 64 bytes, for speed."""
BETAS, EPS = (0.9, 0.999), 1e-8
BY_HAND_TOKENS = 256
"""Tokens of a prompt up to which gradients by hand are clearly the faster ones on a CPU; they keep
every attention matrix, and of longer prompts these grow large."""
ATTENTION = {"cpu": "rows", "cuda": "whole"}
"""What the last layer of a gpt computes on a device, see `model.forward`."""
BACKEND = "inductor"
"""Of `torch.compile`, which fuses the passes over memory between two products."""


class Ensemble:
    """E members with equally large batches, from step 0 until the last one is decided."""

    def __init__(
        self,
        setting: Training,
        members: Sequence[Member],
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        captured: bool | None = None,
        compiled: bool = False,
    ) -> None:
        """captured : steps as `on_device` has them, by default on a GPU; compiled : the network
        and its gradient by `torch.compile`, where `by_hand` does not compute them."""
        self.setting, self.members = setting, list(members)
        self.sizes, self.read = sizes_of(setting), read_at(setting)
        self.device, self.dtype = device, dtype
        self.prompts = [Prompts(setting, member, seed) for member in members]
        self.tracks = [_track(setting, each) for each in self.prompts]
        self.alive = list(range(len(members)))
        self.rows = list(self.alive)
        """Those with a row in the buffers: the alive, and on a GPU some that are decided."""
        self.seen: dict[int, Tensor] = {}
        """Prompts that the decided ones had seen."""
        self.diverged: dict[int, int] = {}
        self.left: dict[int, dict[str, Tensor]] = {}
        """Parameters of members that left, where they are asked for."""
        self.t = 0
        self.steps: Steps | None = None
        self.out: list[Tensor] = []
        """Predictions of the steps of the block so far; the block is drawn again on a resume."""
        self.kind = device.partition(":")[0]
        self.captured = self.kind != "cpu" if captured is None else captured
        attention, backend = ATTENTION[self.kind], BACKEND if compiled else ""
        self.network = model.network(setting.model, self.sizes, self.read, attention, backend)
        self.longest_step = 0.0
        """Seconds that the host spent in one step: in a compiled network's first it compiles."""
        self.drawing = Drawing(self.prompts, ahead=self.captured)
        drawn = [member.start or _fresh(setting, member, seed) for member in members]
        stacked = {k: torch.stack([own[k] for own in drawn]).to(device, dtype) for k in drawn[0]}
        zeros = {name: torch.zeros_like(value) for name, value in stacked.items()}
        self._place([stacked, zeros, zeros])
        self._gather()

    # ------------------------------------------------------------------------------ buffers

    def _place(self, stacks: Sequence[dict[str, Tensor]]) -> None:
        """Lay parameters and moments, name -> (E, ...), into the flat buffers."""
        offsets, total = {}, 0
        for name, value in stacks[0].items():
            offsets[name] = total
            total += -(-value.numel() // ALIGN) * ALIGN
        self.views: list[dict[str, Tensor]] = []
        buffers = []
        for stack in (*stacks, None):
            flat = torch.zeros(total, dtype=self.dtype, device=self.device)
            views = {}
            for name, like in stacks[0].items():
                at = offsets[name]
                views[name] = flat[at : at + like.numel()].view(like.shape)
                if stack is not None:
                    views[name].copy_(stack[name])
            buffers.append(flat)
            self.views.append(views)
        self.flat, *self.moments, self.grad = buffers
        self.parameters = {}
        for name, view in self.views[0].items():
            leaf = view.detach().requires_grad_()
            leaf.grad = self.views[-1][name]
            self.parameters[name] = leaf
        if self.steps is not None:  # captured steps have the buffers before inside
            self.steps.captured.forget()
            self.steps = None

    def _stacks(self, rows: Sequence[int]) -> list[dict[str, Tensor]]:
        """Copies of some rows of parameters and moments."""
        rows = list(rows)
        return [{k: v[rows].clone() for k, v in views.items()} for views in self.views[:-1]]

    def _gather(self) -> None:
        """What differs between members, as tensors over the rows, padded to K tasks."""
        own = [self.prompts[i] for i in self.rows]
        k = self.K = max((len(each.copies) for each in own), default=0)

        def padded(values: list[Tensor], fill: float) -> Tensor:
            rows = [F.pad(v.to(self.dtype), (0, k - len(v)), value=fill) for v in values]
            return torch.stack(rows).to(self.device, self.dtype)

        if own:
            self.optimum = padded([each.optimum for each in own], 1)
            self.copies = padded([each.copies for each in own], 0)
            self.boolean = padded([each.boolean for each in own], 0)
            self.rates = self._rates([self.members[i].arm.lr for i in self.rows])

    def _rates(self, rates: list[float]) -> Tensor:
        """One number where all are alike, else a rate for every entry of the flat buffers."""
        if len(set(rates)) == 1:
            return torch.tensor(rates[0], dtype=self.dtype, device=self.device)
        of = torch.zeros_like(self.flat)
        each = torch.tensor(rates, dtype=self.dtype, device=self.device)
        at = 0
        for view in self.views[0].values():
            rows = view.numel() // len(rates)
            of[at : at + view.numel()] = each.repeat_interleave(rows)
            at += -(-view.numel() // ALIGN) * ALIGN
        return of

    def parameters_of(self, index: int) -> dict[str, Tensor]:
        """The parameters of a member that is alive, for others to start from."""
        (stack, *_) = self._stacks([self.rows.index(index)])
        return {name: value[0].cpu() for name, value in stack.items()}

    # ------------------------------------------------------------------------------- training

    @property
    def graphless(self) -> bool:
        """Whether gradients are those of `by_hand`, else of torch."""
        s = self.setting
        return s.model == "gpt" and self.device == "cpu" and self.sizes.tokens <= BY_HAND_TOKENS

    def predictions(self, tokens: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """What the members predict, (E, B, n), and a function that takes the gradient of that and
        leaves the parameters' in `grad`; tokens : (E, B, T, inputs)."""
        s = self.setting
        if self.graphless:
            return by_hand.forward(self.views[0], self.views[-1], tokens, self.sizes, self.read)
        # Without a cache of casts: it would hand a captured graph the casts of the step before.
        cast = (
            torch.autocast(self.kind, torch.bfloat16, cache_enabled=False)
            if s.precision == "bf16"
            else contextlib.nullcontext()
        )
        with cast:
            out = self.network(self.parameters, tokens)
        out = out.to(self.dtype)
        self.grad.zero_()
        return out.detach(), out.backward

    def step(self, tokens: Tensor, y: Tensor, weight: Tensor, logistic: Tensor) -> Tensor:
        """One step of every member. Returns the predictions before it, (E, B, n).

        What it takes is that of `gradients`.
        """
        with torch.inference_mode(self.graphless):  # a sixth off the cost of calling torch
            out = self.gradients(tokens, y, weight, logistic)
            self.update()
        return out

    def gradients(self, tokens: Tensor, y: Tensor, weight: Tensor, logistic: Tensor) -> Tensor:
        """The gradients of all parameters in `grad`. Returns the predictions, (E, B, n).

        tokens : (E, B, T, inputs), y : (E, B, n)
        weight : (E, B, 1), of an example of the prompt in the loss of its member
        logistic : (E, B, 1), whether the labels of the prompt are signs
        """
        out, back = self.predictions(tokens)
        back(weight * model.slopes(y, out, logistic))
        return out

    def update(self) -> None:
        """Adam with bias correction, or plain gradient descent; every member its own rate."""
        s, g = self.setting, self.grad
        self.t += 1
        warm = min(1.0, self.t / s.warmup) if s.warmup else 1.0
        if s.optimizer == "sgd":
            self.flat.addcmul_(g, self.rates, value=-warm)
            return
        m, v = self.moments
        m.lerp_(g, 1 - BETAS[0])
        v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
        first, second = 1 - BETAS[0] ** self.t, (1 - BETAS[1] ** self.t) ** 0.5
        # (m / first) / (sqrt(v) / second + EPS), with fewer passes.
        step = m / v.sqrt().add_(EPS * second)
        self.flat.addcmul_(step, self.rates, value=-warm * second / first)

    def advance(self) -> None:
        """The next step of those alive; after the last of a block those that are decided leave."""
        if not self.out:
            self._draw(min(BLOCK, self.setting.steps - self.t))
        if self.captured:
            self.out.append(self._captured_step(len(self.out)))
        else:
            self.out.append(self.step(*(each[len(self.out)] for each in self.drawn)))
        if len(self.out) == len(self.drawn[0]):
            self._look()

    def _captured_step(self, row: int) -> Tensor:
        """The step of one row of the block; the predictions may still be under way."""
        if self.steps is None:
            self.steps = Steps(self, BLOCK)
        if row == 0 or self.steps.captured.calls == 0:
            self.steps.fill(self.drawn, self.out)
        began = time.perf_counter()
        self.steps.advance()
        self.longest_step = max(self.longest_step, time.perf_counter() - began)
        self.t += 1
        return self.steps.out[row]

    def block(self) -> None:
        """The steps to the end of the block."""
        self.advance()
        while self.out:
            self.advance()

    def _draw(self, steps: int) -> None:
        """The prompts of the next steps: tokens, y, weight and logistic as `step` takes them."""
        after = min(BLOCK, self.setting.steps - self.t + len(self.out) - steps)
        drawn = self.drawing.next(self.rows, steps, after)
        x = torch.stack([each.x for each in drawn], dim=1).to(self.device, self.dtype)
        y = torch.stack([each.y for each in drawn], dim=1).to(self.device, self.dtype)
        shares = [F.pad(each.share, (0, self.K - each.share.shape[2])) for each in drawn]
        self.share = torch.stack(shares, dim=1).to(self.device, self.dtype)
        weight = self.share @ (self.copies / self.optimum)[..., None] / self.setting.n
        logistic = self.share @ self.boolean[..., None] > 0
        self.drawn = (tokens_of(x, y, self.setting.token), y, weight, logistic)

    def _look(self) -> None:
        """Record the losses of the block; members that are decided leave."""
        _, y, _, logistic = self.drawn
        out, steps = torch.stack(self.out), len(self.out)
        self.out = []
        error = model.errors(y, out, logistic)
        right = (y * out > 0).to(self.dtype)
        of_prompts = torch.stack([error.mean(dim=3), error[..., -1], right[..., -1]], dim=3)
        loss, last, accuracy = (self.share.mT @ of_prompts).unbind(dim=3)
        seen = loss / self.optimum, last / self.optimum, accuracy
        arrays = torch.stack(seen).cpu().double().numpy()
        decided = []
        for row, index in enumerate(self.rows):
            if index not in self.alive:
                continue
            k = len(self.prompts[index].copies)
            mine = [array[:, row, :k] for array in arrays]
            finite = np.isfinite(mine[0]).all(axis=1)
            if not finite.all():
                good = int(finite.argmin())
                self.diverged[index] = self.t - steps + good
                mine = [array[:good] for array in mine]
            if len(mine[0]):
                self.tracks[index].add(*mine)
            if index in self.diverged or self.t >= self.setting.steps or self._decided(index):
                decided.append(index)
        self._leave(decided)

    def _decided(self, index: int) -> bool:
        track, arm = self.tracks[index], self.members[index].arm
        if self.setting.until == "steps":
            return False
        found = track.escape if self.setting.until == "escape" else track.complete
        return all(found[arm.slots.index(name)] != NEVER for name in arm.watch)

    def _leave(self, decided: list[int]) -> None:
        if not decided:
            return
        stands = self.drawing.state()
        for index in decided:
            if self.members[index].keep:
                self.left[index] = self.parameters_of(index)
            self.seen[index] = stands[index]["seen"].clone()
            self.tracks[index].close()
        self.alive = [index for index in self.alive if index not in decided]
        # A GPU waits for launches, not for rows, and to capture the steps of fewer rows anew takes
        # as long as hundreds of them: there the decided stay until they are half of all.
        if self.captured and 2 * len(self.alive) > len(self.rows):
            return
        self.drawing.undraw()
        kept = [row for row, index in enumerate(self.rows) if index in self.alive]
        self.rows = list(self.alive)
        self._place(self._stacks(kept))
        self._gather()

    # ---------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on byte for byte."""
        return {
            "t": self.t,
            "alive": list(self.alive),
            "rows": list(self.rows),
            "seen": dict(self.seen),
            "stacks": self._stacks(range(len(self.rows))),
            "left": dict(self.left),
            "diverged": dict(self.diverged),
            "prompts": self.drawing.state(under_way=bool(self.out)),
            "out": [each.clone() for each in self.out],
            "tracks": [each.state() for each in self.tracks],
        }

    def load_state_dict(self, state: Any) -> None:
        """Go on from what `state_dict` returned."""
        self.t, self.alive, self.rows = state["t"], list(state["alive"]), list(state["rows"])
        self.seen = dict(state["seen"])
        self.left, self.diverged = dict(state["left"]), dict(state["diverged"])
        self.drawing.load(state["prompts"])
        for track, kept in zip(self.tracks, state["tracks"], strict=True):
            track.load(kept)
        self._place(state["stacks"])
        self._gather()
        self.out = [each.to(self.device) for each in state["out"]]
        if self.out:
            self._draw(min(BLOCK, self.setting.steps - self.t + len(self.out)))

    def outcomes(self) -> list[Outcome]:
        """What each member came to, once `alive` is empty."""
        return [
            Outcome(
                track.rows,
                track.escape,
                track.complete,
                track.steps,
                self.seen[index].numpy(),
                each.optimum.numpy(),
                each.boolean.numpy(),
                self.diverged.get(index, NEVER),
                self.left.get(index),
                self.longest_step,
            )
            for index, (track, each) in enumerate(zip(self.tracks, self.prompts, strict=True))
        ]


def _fresh(setting: Training, member: Member, seed: int) -> dict[str, Tensor]:
    """The initial parameters; all arms of a replicate start from the same."""
    generator = stream(seed, member.repeat, "init")
    return model.init(setting.model, sizes_of(setting), setting.init_std, generator)


def _track(setting: Training, prompts: Prompts) -> Track:
    finish = np.array([0.2 if name == "quadratic" else 0.1 for name in prompts.arm.slots])
    return Track(setting.window, setting.threshold, setting.every, prompts.boolean.numpy(), finish)
