"""Training members side by side is training each of them alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from toolbox.studies.icl import ensemble, model, no_context
from toolbox.studies.icl.ensemble import Ensemble
from toolbox.studies.icl.escape import NEVER
from toolbox.studies.icl.plan import Arm, Member, sizes_of
from toolbox.studies.icl.prompts import Prompts, stream, tokens_of

from .settings import member, setting
from .test_model import Plain


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def finish(ensemble):
    while ensemble.alive:
        ensemble.block()
    return ensemble.outcomes()


def same(one, other):
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(other, name), equal_nan=True), name
        elif name not in ("parameters", "longest_step"):
            assert value == getattr(other, name), name


MEMBERS = [
    member("parity2"),
    member("parity2", "conjunction", "linear", lr=1e-3),
    member("linear", lr=1e-2),
    member("quadratic", "leaky-relu"),
]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("index", range(4))
def test_a_member_is_the_same_model_trained_alone_by_torch(index, optimizer):
    s = setting(steps=20, until="steps", optimizer=optimizer, warmup=5, every=1)
    ensemble = Ensemble(s, MEMBERS, 0, dtype=torch.float64)
    ensemble.block()
    got = ensemble.outcomes()[index].rows[:, 1]

    one = MEMBERS[index]
    prompts = Prompts(s, one, 0)
    block = prompts.block(20)
    fresh = model.init("gpt", sizes_of(s), s.init_std, stream(0, 0, "init"))
    plain = Plain({name: value.double() for name, value in fresh.items()}, sizes_of(s))
    kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    adam = kind(plain.parameters(), lr=one.arm.lr)
    for t in range(20):
        adam.param_groups[0]["lr"] = one.arm.lr * min(1, (t + 1) / 5)
        x, y = block.x[t].double(), block.y[t].double()
        out = plain(tokens_of(x, y, "interleave"))[:, ::2]
        total = torch.zeros((), dtype=torch.float64)
        for slot, task in enumerate(prompts.tasks):
            mine = block.share[t, :, slot] > 0
            loss = (
                F.softplus(-y[mine] * out[mine]).mean()
                if task.boolean
                else F.mse_loss(out[mine], y[mine])
            ) / no_context.of(task).value
            assert abs(float(loss.detach()) - got[t, slot]) < 1e-9
            total = total + loss
        adam.zero_grad()
        total.backward()
        adam.step()


def test_a_member_beside_others_is_the_member_alone_to_rounding():
    s = setting(steps=20, until="steps", every=1)
    together = Ensemble(s, MEMBERS, 0, dtype=torch.float64)
    together.block()
    for one, outcome in zip(MEMBERS, together.outcomes(), strict=True):
        alone = Ensemble(s, [one], 0, dtype=torch.float64)
        alone.block()
        assert np.abs(alone.outcomes()[0].rows - outcome.rows).max() < 1e-9


def test_a_member_that_leaves_changes_nothing_for_the_others_but_rounding():
    s = setting(steps=40, every=1, threshold=0.999, window=5)
    easy, hard = member("linear", lr=1e-2), member("coin")
    both = finish(Ensemble(s, [easy, hard], 0, dtype=torch.float64))
    assert both[0].steps == 20
    (alone,) = finish(Ensemble(s, [hard], 0, dtype=torch.float64))
    assert np.abs(alone.rows - both[1].rows).max() < 1e-9


@pytest.mark.parametrize("steps", [0, 1, ensemble.BLOCK, ensemble.BLOCK + 7])
def test_a_saved_ensemble_goes_on_byte_for_byte(steps):
    s = setting(threshold=0.999, window=5)
    members = [member("linear", lr=1e-2), *MEMBERS[:2], member("coin")]
    whole = finish(Ensemble(s, members, 3))
    first = Ensemble(s, members, 3)
    for _ in range(steps):
        first.advance()
    state = first.state_dict()
    first.block()  # the saved state is a copy
    second = Ensemble(s, members, 3)
    second.load_state_dict(state)
    for one, other in zip(whole, finish(second), strict=True):
        same(one, other)


def test_copies_of_a_task_take_the_steps_of_the_task_alone():
    """The loss of k copies is k times the loss of one, and Adam does not see the factor: copies
    change nothing but the prompts that are drawn. An identity, therefore no claim."""
    s = setting(steps=20, until="steps", every=1)
    alone = Member(Arm("parity2", "alone", ("parity2",), 3e-3, ("parity2",)), 0)
    copies = Member(Arm("parity2", "duplicates", ("parity2",) * 4, 3e-3, ("parity2",)), 0)
    rows = []
    for each in (alone, copies):
        ensemble = Ensemble(s, [each], 0, dtype=torch.float64)
        ensemble.block()
        rows.append(ensemble.outcomes()[0].rows)
    assert np.abs(rows[0] - rows[1]).max() < 1e-4  # Adam's epsilon sees the factor


def test_labels_that_are_fair_coins_never_escape():
    s = setting(steps=300, window=50, batch=16, threshold=0.95)
    (outcome,) = finish(Ensemble(s, [member("coin", lr=1e-2)], 0))
    assert outcome.escape.tolist() == [NEVER]
    assert outcome.rows[-10:, 1].mean() > 0.97


def test_a_task_that_needs_no_plateau_does_escape():
    """So that the test above is not passed by a model that learns nothing."""
    s = setting(steps=300, window=50, batch=16, threshold=0.95)
    (outcome,) = finish(Ensemble(s, [member("conjunction", lr=1e-2)], 0))
    assert outcome.escape[0] != NEVER


def test_the_batch_is_split_equally_and_the_rest_by_lot():
    s = setting(batch=8)
    block = Prompts(s, member("parity2", "conjunction", "linear"), 0).block(600)
    counts = (block.share > 0).sum(dim=1)
    assert set(counts.unique().tolist()) == {2, 3}
    assert (counts.sum(dim=1) == 8).all()
    # Each gets the third prompt in two of three steps: 600 * 2/3 with a spread of 11.5.
    assert ((counts == 3).sum(dim=0) - 400).abs().max() < 4 * 11.6
    assert torch.allclose(block.share.sum(dim=1), torch.ones(600, 3, dtype=torch.float64))
    per_task = Prompts(setting(batch=8, per_task_batch=True), member("parity2", "coin"), 0)
    assert ((per_task.block(3).share > 0).sum(dim=1) == 8).all()


def test_arms_that_differ_in_the_rate_alone_see_the_same_prompts_and_replicates_others():
    s = setting()
    one, faster, other = (
        Prompts(s, member("parity2", "linear", lr=lr, repeat=repeat), 0).block(5)
        for lr, repeat in ((1e-3, 0), (1e-2, 0), (1e-3, 1))
    )
    assert torch.equal(one.x, faster.x)
    assert torch.equal(one.y, faster.y)
    assert not torch.equal(one.x, other.x)


def test_a_loss_that_is_no_number_ends_the_member_at_its_step():
    s = setting(optimizer="sgd", until="steps", steps=200)
    bad, good = finish(Ensemble(s, [member("quadratic", lr=1e3), member("linear", lr=1e-3)], 0))
    assert bad.diverged != NEVER
    assert bad.steps == bad.diverged
    assert np.isfinite(bad.rows).all()
    assert good.diverged == NEVER
    assert good.steps == 200


def test_mixed_precision_trains_nearly_as_full_precision_does(monkeypatch):
    # On CUDA alone the command allows it; autocast is the same code on a CPU.
    monkeypatch.setattr(ensemble, "BY_HAND_TOKENS", 0)
    rows = []
    for precision in ("float32", "bf16"):
        s = setting(steps=20, until="steps", precision=precision, every=1)
        own = Ensemble(s, [member("parity2", "linear")], 0)
        own.block()
        assert {value.dtype for value in own.parameters.values()} == {torch.float32}
        rows.append(own.outcomes()[0].rows[:, 1])
    off = abs(rows[0] - rows[1])
    assert 0 < off.max() < 0.02
