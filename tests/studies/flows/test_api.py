"""The flows of a network that is in no list."""

from __future__ import annotations

import pytest
import torch

from toolbox.core.compute import one_thread
from toolbox.core.errors import ParameterError
from toolbox.studies.flows.api import central_flow


@pytest.fixture(autouse=True)
def _small():
    """Many small operations: a second thread would only be in the way."""
    with one_thread():
        yield


class Gated(torch.nn.Module):
    """A gated unit with a skip connection."""

    def __init__(self, norm: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.gate = torch.nn.Linear(6, 5), torch.nn.Linear(6, 5)
        self.norm = norm or torch.nn.Identity()
        self.skip, self.out = torch.nn.Linear(6, 2), torch.nn.Linear(5, 2)

    def forward(self, x):
        return self.skip(x) + self.out(
            self.norm(torch.tanh(self.first(x)) * self.gate(x).sigmoid())
        )


def problem(norm=None):
    torch.manual_seed(0)
    x = torch.randn(20, 6, dtype=torch.float64)
    y = torch.sin(3 * x[:, :2]) + x[:, 2:4] * x[:, 4:]
    return Gated(norm).double(), torch.nn.functional.mse_loss, x, y


def test_the_flow_follows_it():
    module, loss, x, y = problem()
    before = [p.detach().clone() for p in module.parameters()]
    tables = central_flow(module, loss, x, y, eta=0.5, steps=60, kick=0.01)
    rows = tables["trajectory"]
    assert rows.attrs["ended"] == ""
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    central = rows[rows["process"] == "central"].set_index("step")
    busy = central[central["trace"] > 0]
    assert len(busy) > 20, "it does not come to the edge"
    assert (busy["sharpness"].iloc[10:] - 2).abs().max() < 0.01
    assert central["loss"].diff().max() < 0
    assert (central["mean_loss"] >= central["loss"]).all()


def test_a_divergence_keeps_the_steps_before_it():
    module, loss, x, y = problem()
    rows = central_flow(module, loss, x, y, eta=20.0, steps=400, processes=["discrete"])[
        "trajectory"
    ]
    assert "discrete" in rows.attrs["ended"]
    assert 0 < len(rows) < 400


@pytest.mark.parametrize(
    ("layer", "said"),
    [(torch.nn.ReLU(), r"norm \(ReLU\)"), (torch.nn.LayerNorm(5), "third derivative")],
)
def test_a_layer_without_right_third_derivatives_is_refused(layer, said):
    module, loss, x, y = problem(layer)
    with pytest.raises(ParameterError, match=said):
        central_flow(module, loss, x, y, eta=0.1, steps=2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("eta", 0.0), ("steps", 0), ("sdcp_threshold", 2.0), ("processes", ["sgd"])],
)
def test_a_number_out_of_range_is_refused_by_its_name(field, value):
    module, loss, x, y = problem()
    with pytest.raises(ParameterError, match=field):
        central_flow(module, loss, x, y, **{"eta": 0.1, "steps": 2, field: value})
