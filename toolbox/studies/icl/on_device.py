"""The steps of a block one after another, for a GPU that is not to wait for the host.

The prompts of a block, the predictions in it and the place in it are tensors that stay where they
are. A step then asks the host for nothing and is captured as a graph (`toolbox.core.compute`); a
block is read once, at its end. It is the step of `Ensemble.step` to rounding: the sums of Adam are
those of torch's fused kernel, one pass over parameters, gradients and moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from toolbox.core.compute import Captured

if TYPE_CHECKING:
    from .ensemble import Ensemble


class Steps:
    """The steps of the rows that the ensemble has now; with fewer rows it makes others."""

    def __init__(self, ensemble: Ensemble, longest: int) -> None:
        """longest : steps of a block at most."""
        self.ensemble, self.longest = ensemble, longest
        device = ensemble.device
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self.warm = torch.ones(longest, dtype=ensemble.dtype, device=device)
        self.inputs: tuple[Tensor, ...] = ()
        self.out = torch.empty(0)
        self.update = _adam if ensemble.setting.optimizer == "adam" else _descent
        self.optimizer = _optimizer(ensemble) if self.update is _adam else None
        self.captured = Captured(self._step, device)

    def fill(self, drawn: Sequence[Tensor], before: Sequence[Tensor] = ()) -> None:
        """Begin a block.

        drawn : what `Ensemble.step` takes, with a leading dimension of steps
        before : predictions of the block's first steps, if they were done already
        """
        e = self.ensemble
        if not self.inputs:
            self.inputs = tuple(
                torch.zeros(self.longest, *each.shape[1:], dtype=each.dtype, device=e.device)
                for each in drawn
            )
            self.out = torch.zeros_like(self.inputs[1])
        for kept, new in zip(self.inputs, drawn, strict=True):
            kept[: len(new)].copy_(new)
        for row, out in enumerate(before):
            self.out[row].copy_(out)
        if e.setting.warmup:
            first = e.t - len(before) + 1
            steps = torch.arange(first, first + self.longest, dtype=e.dtype)
            self.warm.copy_((steps / e.setting.warmup).clamp(max=1.0))
        self.place.fill_(len(before))

    def advance(self) -> None:
        """The next step of the block."""
        self.captured()

    def _step(self) -> None:
        e = self.ensemble
        tokens, y, weight, logistic = (each.index_select(0, self.place)[0] for each in self.inputs)
        out = e.gradients(tokens, y, weight, logistic)
        self.update(self, self.warm.index_select(0, self.place)[0])
        self.out.index_copy_(0, self.place, out[None])
        self.place.add_(1)


def _descent(steps: Steps, warm: Tensor) -> None:
    """Plain gradient descent; every member its own rate."""
    e = steps.ensemble
    e.flat.sub_(e.grad * (e.rates * warm))


def _adam(steps: Steps, warm: Tensor) -> None:
    assert steps.optimizer is not None
    if steps.ensemble.setting.warmup:
        for group in steps.optimizer.param_groups:
            group["lr"].copy_(group["rate"] * warm)
    steps.optimizer.step()


def _optimizer(e: Ensemble) -> torch.optim.Adam:
    """Torch's fused Adam on the buffers of the ensemble: parameters, gradients and both moments.

    Members of one rate are one tensor, the flat buffer; of several rates each has a group of its
    members' rows.
    """
    from .ensemble import BETAS, EPS

    rates = [e.members[i].arm.lr for i in e.rows]
    groups = []
    state: list[tuple[Tensor, Tensor, Tensor]] = []
    for rate in sorted(set(rates)):
        if len(set(rates)) == 1:
            parts = [(e.flat, e.grad, *e.moments)]
        else:
            rows = [row for row, own in enumerate(rates) if own == rate]
            own_views = (e.views[0], e.views[-1], *e.views[1:-1])
            parts = [
                (views[0][row], views[1][row], views[2][row], views[3][row])
                for name in e.views[0]
                for views in [[every[name] for every in own_views]]
                for row in rows
            ]
        params = []
        for value, grad, first, second in parts:
            leaf = value.detach().requires_grad_()
            leaf.grad = grad
            params.append(leaf)
            state.append((leaf, first, second))
        lr = torch.tensor(rate, dtype=torch.float32, device=e.device)
        groups.append({"params": params, "lr": lr, "rate": rate})
    adam = torch.optim.Adam(
        groups, betas=BETAS, eps=EPS, fused=True, capturable=e.device.startswith("cuda")
    )
    for leaf, first, second in state:
        done = torch.full((), float(e.t), dtype=torch.float32, device=e.device)
        adam.state[leaf] = {"step": done, "exp_avg": first, "exp_avg_sq": second}
    return adam
