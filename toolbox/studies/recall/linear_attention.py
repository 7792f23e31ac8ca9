"""Linear attention on one-hot tokens and its two dynamics (paper, Section 5).

logits = sum_v c_v a(v) V[v, :], with c_v the count of token v in the prompt, a(v) the attention of
EOS to v, and V the value matrix read out at the answers. With delta = onehot(y) - softmax,

    dV[v, :]/dt = a(v) E[c_v delta],    da(v)/dt = <V[v, :], E[c_v delta]>,

so a(v)^2 - |V[v, :]|^2 is conserved by the flow (derived).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import integrate
from torch import Tensor

from . import data


class LinearAttention:
    """E replicates trained by plain SGD; a : (E, V), value : (E, V, R D)."""

    def __init__(self, task: data.Task, members: int, attention: float, value: float, device: str):
        """Every entry of a and V starts at the same small number."""
        self.a = torch.full((members, task.vocabulary), attention, device=device)
        self.value = torch.full((members, task.vocabulary, task.outputs), value, device=device)

    def logits(self, counts: Tensor) -> Tensor:
        """counts : (E, B, V). Returns (E, B, R D)."""
        return torch.bmm(counts, self.a[..., None] * self.value)

    def step(self, counts: Tensor, labels: Tensor, lr: float) -> None:
        """One step on the mean cross entropy; counts : (E, B, V), labels : (E, B)."""
        delta = -torch.softmax(self.logits(counts), dim=2)
        delta.scatter_add_(2, labels[..., None], delta.new_ones(()).expand(*labels.shape, 1))
        pull = torch.bmm(counts.transpose(1, 2), delta) * (lr / labels.shape[1])
        change = (self.value * pull).sum(dim=2)
        self.value += self.a[..., None] * pull
        self.a += change

    def losses(self, counts: Tensor, labels: Tensor, answers: int) -> dict[str, np.ndarray]:
        """Measured on prompts (E, n, V), labels (E, n): see `split_losses`; (E,) each."""
        log_p = self.logits(counts).double().log_softmax(dim=2).cpu().numpy()
        return split_losses(log_p, labels.cpu().numpy(), answers)


def split_losses(log_p: np.ndarray, labels: np.ndarray, D: int) -> dict[str, np.ndarray]:
    """Total, relation-only and subject-only loss and the two accuracies, means over prompts.

    log_p : (..., n, R D); labels : (..., n). Relation only: -log of the probability of the right
    relation's answers; subject only: of the answers equal to the right one modulo D.
    """
    p = np.exp(log_p).reshape(*log_p.shape[:-1], -1, D)
    relation = np.take_along_axis(p.sum(axis=-1), (labels // D)[..., None], axis=-1)[..., 0]
    subject = np.take_along_axis(p.sum(axis=-2), (labels % D)[..., None], axis=-1)[..., 0]
    total = -np.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]
    guess = log_p.argmax(axis=-1)
    return {
        "loss_total": total.mean(axis=-1),
        "loss_relation": -np.log(relation).mean(axis=-1),
        "loss_subject": -np.log(subject).mean(axis=-1),
        "accuracy": (guess == labels).mean(axis=-1),
        "relation_accuracy": (guess // D == labels // D).mean(axis=-1),
    }


def mean_counts(task: data.Task) -> np.ndarray:
    """Counts of the prompts about every fact, noise at its mean: (S R, V)."""
    S, R = task.subjects, task.relations
    out = np.zeros((task.facts, task.vocabulary))
    rows = np.arange(task.facts)
    out[rows, rows // R] = 1
    out[rows, S + rows % R] = 1
    out[:, S + R : -1] = (task.length - 3) / task.noise
    out[:, -1] = 1
    return out


def flow(
    task: data.Task, table: np.ndarray, attention: float, value: float, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient flow over all facts: a (n, V) and V (n, V, R D) at `times` (n,) = lr x step.

    The noise tokens enter with their mean counts; their fluctuations are left out.
    """
    C, labels = mean_counts(task), table.ravel()
    target = np.eye(task.outputs)[labels]
    V, A = task.vocabulary, task.outputs

    def velocity(time: float, state: np.ndarray) -> np.ndarray:
        a, value = state[:V], state[V:].reshape(V, A)
        logits = (C * a) @ value
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        pull = C.T @ (target - p) / len(C)
        return np.concatenate([(value * pull).sum(axis=1), (a[:, None] * pull).ravel()])

    start = np.concatenate([np.full(V, attention), np.full(V * A, value)])
    # Absolute tolerance far below the initial scale: the whole escape is exponential growth of it.
    scale = max(min(abs(attention), abs(value)), 1e-12)
    solution = integrate.solve_ivp(
        velocity, (0.0, float(times[-1])), start, method="DOP853", t_eval=times,
        rtol=1e-7, atol=1e-4 * scale,
    )  # fmt: skip
    if not solution.success:
        raise FloatingPointError(solution.message)
    states: np.ndarray = solution.y.T
    return states[:, :V], states[:, V:].reshape(len(times), V, A)
