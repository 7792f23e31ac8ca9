"""Jobs for the tests of the crew; of a module of their own, as a worker imports them."""

from __future__ import annotations

import math
import os
import time

import numpy as np
import torch


def train(worker, job):
    """A small training with a break, on two streams."""
    repeat, steps, pause = job
    rng, generator = worker.rng(repeat, "a"), worker.torch_generator(repeat, "b")
    w, found = torch.zeros(3), {"sum": 0.0}
    for _ in worker.steps(steps, w, rng, generator, found):
        w += torch.randn(3, generator=generator) + float(rng.random())
        found["sum"] += float(w.sum())
        time.sleep(pause)
    for step in worker.steps(None, w, rng):
        w *= rng.random()
        if step == 3:
            break
    return {"w": w, "sum": found["sum"], "threads": torch.get_num_threads()}


def diverge(worker, job):
    """Replicate 1 diverges at its second step."""
    total = np.zeros(1)
    for step in worker.steps(4, total):
        total += math.nan if job == 1 and step == 1 else 1.0
        worker.check_finite(total, "the total")
    return float(total[0])


def fail(worker, job):
    """A bug."""
    raise IndexError(f"no item {job}")


def die(worker, job):
    """What the kernel does when memory runs out."""
    os.kill(os.getpid(), 9)
