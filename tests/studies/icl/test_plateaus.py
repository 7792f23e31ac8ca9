"""The plateaus that are derived for a mix, on networks as they are trained."""

import pytest

from toolbox.studies.icl import no_context
from toolbox.studies.icl.ensemble import Ensemble

from .settings import member, setting


def test_a_mix_stands_on_the_plateaus_derived_for_it_and_a_task_alone_at_one():
    s = setting(n=8, batch=64, steps=260, until="steps", every=20, window=100)
    members = [member("parity2", "coin"), member("parity2")]
    ensemble = Ensemble(s, members, 0)
    while ensemble.alive:
        ensemble.block()
    expected = [no_context.plateaus(one.arm.tasks, s.d, s.n) for one in members]
    assert expected[0] == pytest.approx((1.1349, 1.0994), abs=1e-4)
    assert expected[1] == pytest.approx((1,))
    for levels, outcome in zip(expected, ensemble.outcomes(), strict=True):
        found = outcome.rows[-6:, 1].mean(axis=0)
        # Over 120 steps of 32 prompts or more the noise is below 0.01.
        assert found.tolist() == pytest.approx(levels, abs=0.025)
