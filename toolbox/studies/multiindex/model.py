"""Neurons under online spherical SGD on the correlation loss, many step sizes at once.

Per neuron, with a batch of b fresh samples and eta = b eta_1 (the paper's form is b = 1):

    g = (1/b) sum_i y_i phi'(v.x_i) x_i,   g <- g - (g.v) v,   v <- (v + eta g) / |v + eta g|.

The second layer is so small that neurons do not interact, so S step sizes and m neurons are one
matrix of S m rows that sees one stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .link import Link


class Shared:
    """Neurons in R^d that all see the same samples."""

    def __init__(
        self,
        link: Link,
        v: Tensor,
        P: int,
        etas: NDArray[np.float64],
        frame: Tensor | None = None,
    ) -> None:
        """v : (m, d) starts, the same for every step size; etas : (S,) per batch."""
        self.link, self.P, self.frame = link, P, frame
        self.m = len(v)
        self.v = v.repeat(len(etas), 1)
        self.etas = np.asarray(etas)
        self._spread()

    def _spread(self) -> None:
        eta = torch.tensor(self.etas, dtype=self.v.dtype, device=self.v.device)
        self.eta = eta.repeat_interleave(self.m)[:, None]

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step on a batch; x : (b, d), y : (b,)."""
        z = x @ self.v.T
        w = self.link.slope(z)
        w = w * (y / len(y))[:, None]
        g = w.T @ x
        radial = (g * self.v).sum(dim=1, keepdim=True)
        v = self.v + self.eta * (g - radial * self.v)
        self.v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)

    def overlaps(self) -> Tensor:
        """u_k = v.v_k, (S, m, P)."""
        u = self.v[:, : self.P] if self.frame is None else self.v @ self.frame
        return u.reshape(len(self.etas), self.m, self.P)

    def keep(self, groups: NDArray[np.bool_]) -> None:
        """Go on with some step sizes only; groups : (S,)."""
        rows = torch.from_numpy(np.repeat(groups, self.m)).to(self.v.device)
        self.v, self.etas = self.v[rows], self.etas[groups]
        self._spread()

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {"v": self.v, "etas": self.etas}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.v, self.etas = state["v"], state["etas"]
        self._spread()


class Reduced:
    """The same chain in P + 1 coordinates, exact in law for every single neuron.

    By the rotation invariance of the Gaussian a neuron's u and r = |v outside the subspace| form a
    Markov chain: a step needs x in the subspace, x along the neuron's outer part (a Gaussian g),
    and the length of the rest, sum_i w_i x_i there being Gaussian with covariance |w|^2 I given w.
    Neurons share x in the subspace and the labels but each has its own g, where in `Shared` the
    outer parts are only nearly orthogonal: joint laws of several neurons agree as d grows. Step
    sizes share all numbers. A sample costs P + m numbers instead of d.
    """

    def __init__(
        self,
        link: Link,
        u: Tensor,
        r: Tensor,
        d: int,
        etas: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        """u : (m, P), r : (m,) starts; etas : (S,) per batch; rng draws the chi-squares."""
        self.link, self.d, self.rng = link, d, rng
        self.m, self.P = u.shape
        self.u = u.expand(len(etas), -1, -1).clone()
        self.r = r.expand(len(etas), -1).clone()
        self.etas = np.asarray(etas)
        self._spread()

    def _spread(self) -> None:
        self.eta = torch.tensor(self.etas, dtype=self.u.dtype, device=self.u.device)[:, None]

    def step(self, x: Tensor, g: Tensor, y: Tensor) -> None:
        """One step on a batch; x : (b, P), g : (b, m), y : (b,)."""
        b = len(y)
        z = (x @ self.u.reshape(-1, self.P).T).reshape(b, -1, self.m)
        z = z.addcmul_(self.r[None], g[:, None, :])
        w = self.link.slope(z)
        w = w * (y / b)[:, None, None]
        in_subspace = (w.reshape(b, -1).T @ x).reshape(self.u.shape)
        outer = (w * g[:, None, :]).sum(dim=0)
        radial = (in_subspace * self.u).sum(dim=2) + outer * self.r
        rest = self.d - self.P - 1
        chi = self.rng.chisquare(rest, self.m) if rest > 0 else np.zeros(self.m)
        length = torch.from_numpy(chi).to(w) * (w * w).sum(dim=0)
        u = self.u + self.eta[..., None] * (in_subspace - radial[..., None] * self.u)
        along = self.r + self.eta * (outer - radial * self.r)
        r = torch.sqrt(along**2 + self.eta**2 * length) if rest >= 0 else torch.zeros_like(self.r)
        norm = torch.sqrt((u**2).sum(dim=2) + r**2)
        self.u, self.r = u / norm[..., None], r / norm

    def overlaps(self) -> Tensor:
        """u_k, (S, m, P)."""
        return self.u

    def keep(self, groups: NDArray[np.bool_]) -> None:
        """Go on with some step sizes only; groups : (S,)."""
        rows = torch.from_numpy(groups).to(self.u.device)
        self.u, self.r, self.etas = self.u[rows], self.r[rows], self.etas[groups]
        self._spread()

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {"u": self.u, "r": self.r, "etas": self.etas, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.u, self.r, self.etas = state["u"], state["r"], state["etas"]
        self.rng.bit_generator.state = state["rng"]
        self._spread()


Learner = Shared | Reduced
