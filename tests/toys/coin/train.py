"""Minimise (w - 1)^2 from noisy gradients, with every generator a run can use."""

import random
import time

import numpy as np
import torch

from toolbox.core.run import Run

from .cli import Train


def train(run: Run, p: Train) -> None:
    """One row per step; the loss uses Python's, numpy's and torch's random numbers."""
    # Python's and numpy's global generators, because a checkpoint must bring these back too.
    random.seed(run.seed)
    np.random.seed(run.seed % 2**32)
    held = b"x" * (p.ballast << 20)
    noise = run.torch_generator(0, "noise")
    w = torch.zeros(run.repeats, 1, device=run.device, requires_grad=True)
    kind = torch.optim.Adam if p.optimizer == "adam" else torch.optim.SGD
    opt = kind([w], lr=p.lr)
    for step in run.steps(p.steps, w, opt, noise, label="training"):
        shift = random.random() + np.random.rand() - 1
        target = 1 + 0.1 * torch.randn(1, generator=noise, device=run.device) + 0.01 * shift
        loss = ((w - target) ** 2).sum(1)
        run.write(
            "curve",
            {"repeat": range(run.repeats), "step": step, "loss": loss.detach().cpu().numpy()},
        )
        run.check_finite(loss, f"the loss at step {step} (--lr {p.lr})")
        opt.zero_grad()
        loss.sum().backward()
        opt.step()
        time.sleep(p.pause)
    del held
