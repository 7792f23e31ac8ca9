"""Members trained side by side as one stack of small models.

One flat buffer each for parameters, gradients and Adam's moments; the named parameters are views of
it, (E, ...) each. A member leaves when its outcome is decided. What is in an ensemble follows from
its replicate alone (see `trainer`), and so do a member's bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import model
from .escape import NEVER, Track
from .plan import Member, Setting
from .prompts import Prompts, stream, tokens_of

BLOCK = 20
"""Steps between two looks at the outcomes; prompts are drawn this many steps at a time."""
ALIGN = 16
"""Every parameter begins at a multiple of 64 bytes, for speed."""
BETAS, EPS = (0.9, 0.999), 1e-8


class Ensemble:
    """E members with equally large batches, from step 0 until the last one is decided."""

    def __init__(
        self,
        setting: Setting,
        members: Sequence[Member],
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.setting, self.members = setting, list(members)
        self.device, self.dtype = device, dtype
        self.prompts = [Prompts(setting, member, seed) for member in members]
        self.tracks = [_track(setting, each) for each in self.prompts]
        self.alive = list(range(len(members)))
        self.diverged: dict[int, int] = {}
        self.left: dict[int, dict[str, Tensor]] = {}
        """Parameters of members that left, where they are asked for."""
        self.t = 0
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

    def _stacks(self, rows: Sequence[int]) -> list[dict[str, Tensor]]:
        """Copies of parameters and moments of some of those alive."""
        rows = list(rows)
        return [{k: v[rows].clone() for k, v in views.items()} for views in self.views[:-1]]

    def _gather(self) -> None:
        """What differs between members, as tensors over those alive, padded to K tasks."""
        own = [self.prompts[i] for i in self.alive]
        k = self.K = max((len(each.copies) for each in own), default=0)

        def padded(values: list[Tensor], fill: float) -> Tensor:
            rows = [F.pad(v.to(self.dtype), (0, k - len(v)), value=fill) for v in values]
            return torch.stack(rows).to(self.device, self.dtype)

        if own:
            self.optimum = padded([each.optimum for each in own], 1)
            self.copies = padded([each.copies for each in own], 0)
            self.boolean = padded([each.boolean for each in own], 0)
            self.kinds = {bool(kind) for each in own for kind in each.boolean}
            self.rates = self._rates([self.members[i].arm.lr for i in self.alive])

    def _rates(self, rates: list[float]) -> Tensor | float:
        """One number where all are alike, else a rate for every entry of the flat buffers."""
        if len(set(rates)) == 1:
            return rates[0]
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
        (stack, *_) = self._stacks([self.alive.index(index)])
        return {name: value[0].cpu() for name, value in stack.items()}

    # ------------------------------------------------------------------------------- training

    def losses(self, x: Tensor, y: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised loss, the same at the last position, and accuracy there: (E, K) each.

        x : (E, B, n, d), y : (E, B, n), share : (E, B, K), see `prompts.Block`
        """
        s = self.setting
        tokens = tokens_of(x, y, s.token)
        cast = (
            torch.autocast(self.device.partition(":")[0], torch.bfloat16)
            if s.precision == "bfloat16"
            else contextlib.nullcontext()
        )
        with cast:
            out = model.forward(s.model, self.parameters, tokens, s.sizes, s.read)
        out = out.to(self.dtype)
        if self.kinds == {True}:
            each = F.softplus(-y * out)
        elif self.kinds == {False}:
            each = (out - y).square()
        else:
            logistic = (share * self.boolean[:, None]).sum(dim=2, keepdim=True) > 0
            each = torch.where(logistic, F.softplus(-y * out), (out - y).square())
        parts = torch.stack(
            [each[..., -1].detach(), ((y * out)[..., -1].detach() > 0).to(each.dtype)], dim=2
        )
        by_task = share.transpose(1, 2)
        loss = torch.bmm(by_task, each.mean(dim=2, keepdim=True))[..., 0]
        last, accuracy = torch.bmm(by_task, parts).unbind(dim=2)
        return loss / self.optimum, last / self.optimum, accuracy

    def step(self, x: Tensor, y: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of every member. Returns what `losses` does."""
        loss, last, accuracy = self.losses(x, y, share)
        self.grad.zero_()
        (loss * self.copies).sum().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.update()
        return loss.detach(), last, accuracy

    def update(self) -> None:
        """Adam with bias correction, or plain gradient descent; every member its own rate."""
        s, g = self.setting, self.grad
        self.t += 1
        rate = self.rates * min(1.0, self.t / s.warmup) if s.warmup else self.rates
        if s.optimizer == "sgd":
            self.flat.sub_(rate * g)
            return
        m, v = self.moments
        m.lerp_(g, 1 - BETAS[0])
        v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
        bottom = v.sqrt().div_((1 - BETAS[1] ** self.t) ** 0.5).add_(EPS)
        self.flat.sub_(m.div(bottom).mul_(rate / (1 - BETAS[0] ** self.t)))

    def block(self) -> None:
        """The next steps of those alive; members that are decided leave."""
        s = self.setting
        steps = min(BLOCK, s.steps - self.t)
        drawn = [self.prompts[i].block(steps) for i in self.alive]
        x = torch.stack([each.x for each in drawn], dim=1).to(self.device, self.dtype)
        y = torch.stack([each.y for each in drawn], dim=1).to(self.device, self.dtype)
        shares = [F.pad(each.share, (0, self.K - each.share.shape[2])) for each in drawn]
        share = torch.stack(shares, dim=1).to(self.device, self.dtype)
        seen = [self.step(x[i], y[i], share[i]) for i in range(steps)]
        arrays = [torch.stack(part).cpu().double().numpy() for part in zip(*seen, strict=True)]
        decided = []
        for row, index in enumerate(self.alive):
            k = len(self.prompts[index].copies)
            mine = [array[:, row, :k] for array in arrays]
            finite = np.isfinite(mine[0]).all(axis=1)
            if not finite.all():
                good = int(finite.argmin())
                self.diverged[index] = self.t - steps + good
                mine = [array[:good] for array in mine]
            if len(mine[0]):
                self.tracks[index].add(*mine)
            if index in self.diverged or self.t >= s.steps or self._decided(index):
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
        for index in decided:
            if self.members[index].keep:
                self.left[index] = self.parameters_of(index)
            self.tracks[index].close()
        rows = [row for row, index in enumerate(self.alive) if index not in decided]
        self.alive = [self.alive[row] for row in rows]
        self._place(self._stacks(rows))
        self._gather()

    # ---------------------------------------------------------------------------- checkpoints

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on byte for byte."""
        return {
            "t": self.t,
            "alive": list(self.alive),
            "stacks": self._stacks(range(len(self.alive))),
            "left": dict(self.left),
            "diverged": dict(self.diverged),
            "prompts": [each.state() for each in self.prompts],
            "tracks": [each.state() for each in self.tracks],
        }

    def load(self, state: Any) -> None:
        """Go on from what `state` returned."""
        self.t, self.alive = state["t"], list(state["alive"])
        self.left, self.diverged = dict(state["left"]), dict(state["diverged"])
        for each, saved in zip(self.prompts, state["prompts"], strict=True):
            each.load(saved)
        for track, kept in zip(self.tracks, state["tracks"], strict=True):
            track.load(kept)
        self._place(state["stacks"])
        self._gather()

    def outcomes(self) -> list[dict[str, Any]]:
        """What each member came to, once `alive` is empty."""
        return [
            {
                "rows": track.rows,
                "escape": track.escape,
                "complete": track.complete,
                "steps": track.steps,
                "seen": each.seen.numpy(),
                "optimum": each.optimum.numpy(),
                "boolean": each.boolean.numpy(),
                "diverged": self.diverged.get(index, NEVER),
                "parameters": self.left.get(index),
            }
            for index, (track, each) in enumerate(zip(self.tracks, self.prompts, strict=True))
        ]


def _fresh(setting: Setting, member: Member, seed: int) -> dict[str, Tensor]:
    """The initial parameters; all arms of a replicate start from the same."""
    generator = stream(seed, member.repeat, "init")
    return model.init(setting.model, setting.sizes, setting.init_std, generator)


def _track(setting: Setting, prompts: Prompts) -> Track:
    finish = np.array([0.2 if name == "quadratic" else 0.1 for name in prompts.arm.slots])
    return Track(setting.window, setting.threshold, setting.every, prompts.boolean.numpy(), finish)
