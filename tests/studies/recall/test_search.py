"""The capacity search, the early stop and the trained memories."""

import math

import numpy as np
import pytest
import torch

from toolbox.app import run
from toolbox.core import states
from toolbox.studies.recall import data, memory, theory
from toolbox.studies.recall.ensemble import Budget, hopeless, train
from toolbox.studies.recall.memory import Memory, Shape
from toolbox.studies.recall.search import Search, next_trial


def generator(repeat, N):
    return torch.Generator().manual_seed(1000 * repeat + N)


class Plain:
    """The steps of a run that nothing stops."""

    def steps(self, count, *states, label=""):
        return iter(range(count))


def searched(low, high, capacities):
    searches = [Search.between(low, high) for _ in capacities]
    asked = []
    while (trial := next_trial(searches)) is not None:
        size, who = trial
        asked.append((size, tuple(who)))
        for r in who:
            searches[r].tell(size, size <= capacities[r])
    return searches, asked


@pytest.mark.parametrize("capacity", [9, 10, 17, 31, 80, 199])
def test_the_search_finds_the_capacity_within_one_per_cent(capacity):
    (search,), _ = searched(8, 200, [capacity])
    assert search.censored == "no" if capacity < 199 else "above"
    assert search.low <= capacity
    assert search.low >= capacity / 1.01 - 1


def test_the_ends_of_the_bracket_are_censored():
    (search,), _ = searched(8, 200, [5])
    assert (search.low, search.censored) == (8, "below")
    (search,), _ = searched(8, 200, [1000])
    assert search.censored == "above"
    assert search.high == 200


@pytest.mark.parametrize("capacity", [150, 300, 477, 900, 1500])
def test_a_bracket_that_is_learnt_whole_is_widened_up_to_the_information_bound(capacity):
    """Few outputs: seven of them let an MLP hold more than m d, where the paper's bracket ends."""
    search, bound = Search.between(8, 200, most=1000), 1000
    asked = []
    while (N := search.ask()) is not None:
        asked.append(N)
        search.tell(N, capacity >= N)
    assert max(asked) < bound
    if capacity < bound:
        assert search.censored == "no"
        assert capacity / 1.01 - 1 <= search.low <= capacity
    else:
        assert (search.censored, search.high) == ("above", bound)
    if capacity < 200:  # the trials are those of the paper's search
        (plain,), tried = searched(8, 200, [capacity])
        assert asked == [size for size, _ in tried]
        assert search.low == plain.low


def test_a_search_that_is_brought_back_asks_the_same(tmp_path):
    search = Search.between(8, 200, most=1000)
    while search.high == 200:
        search.tell(search.ask(), True)
    (saved,) = states.frozen([search], tmp_path)
    again = Search.between(8, 200, most=1000)
    states.put_back(again, saved)
    assert again.ask() == search.ask()


def test_replicates_that_ask_for_one_size_share_a_trial_and_end_as_if_alone():
    together, asked = searched(8, 200, [20, 21, 150])
    assert asked[0] == (104, (0, 1, 2))
    for search, capacity in zip(together, [20, 21, 150], strict=True):
        (alone,), _ = searched(8, 200, [capacity])
        assert search == alone


@pytest.mark.parametrize("shape", [Shape(11), Shape(11, 22), Shape(8, 8, 5)])
def test_a_member_does_not_depend_on_those_behind_it(shape):
    """So a replicate is the same however many run beside it: they stand in order, and those that
    leave close ranks."""
    many = Memory(shape, 37, [0, 1, 2, 3], (0.03, 0.01), generator, "cpu")
    few = Memory(shape, 37, [0, 1], (0.03, 0.01), generator, "cpu")
    for step in range(30):
        many.step()
        few.step()
        if step == 10:
            many.keep(torch.tensor([1, 3, 4, 6]))
            few.keep(torch.tensor([1, 3]))
    assert torch.equal(many.flat[:2], few.flat)
    alone = Memory(shape, 37, [1], (0.01,), generator, "cpu")
    for _ in range(30):
        alone.step()
    assert torch.allclose(alone.flat[0], few.flat[1], atol=1e-3)


def test_training_is_adam_on_the_cross_entropy():
    model = Memory(Shape(8), 12, [0], (0.5,), generator, "cpu")
    W = model.parameters()["W"].detach()[0].clone().requires_grad_()
    adam = torch.optim.Adam([W], lr=0.5)
    for _ in range(20):
        model.step()
        logits = model.keys[0] @ W @ model.values[0]
        adam.zero_grad()
        torch.nn.functional.cross_entropy(logits, model.labels).backward()
        adam.step()
    assert torch.allclose(model.parameters()["W"][0], W, atol=1e-3)


@pytest.mark.parametrize("shape", [Shape(8), Shape(8, 12), Shape(8, 12, 5)])
def test_a_batch_in_pieces_is_the_batch(shape, monkeypatch):
    """Large N is trained piece by piece, as N^2 logits would fill memory."""
    whole, parts = (Memory(shape, 37, [0, 1], (0.03,), generator, "cpu") for _ in range(2))
    monkeypatch.setattr(memory, "PIECE", 300)
    assert len(parts.pieces()) > 1
    for _ in range(10):
        parts.step()
    accuracy, loss = parts.accuracy(), parts.loss()
    monkeypatch.undo()
    assert len(whole.pieces()) == 1
    for _ in range(10):
        whole.step()
    assert torch.allclose(parts.flat, whole.flat, atol=1e-4)
    assert parts.accuracy() == pytest.approx(accuracy, abs=1e-12)
    assert loss == pytest.approx(parts.loss(), rel=1e-5)


def test_a_memory_with_as_many_dimensions_as_items_is_exact():
    """Orthogonal keys: W = sum u e^T has W e_x = u_x, so N = d is always stored."""
    budget = Budget(256, 16, 1.0, early=False)
    model = Memory(Shape(16), 16, [0], (1000.0,), generator, "cpu")
    assert train(Plain(), model, budget).best[0] == 1.0


def test_training_stops_at_success_and_at_hopelessness():
    budget = Budget(400, 20, 0.99)
    easy = train(Plain(), Memory(Shape(16), 20, [0], (1000.0,), generator, "cpu"), budget)
    hard = train(Plain(), Memory(Shape(16), 120, [0], (1000.0,), generator, "cpu"), budget)
    assert easy.best[0] >= 0.99
    assert easy.stopped[0] < 400
    assert hard.best[0] < 0.5
    assert 100 <= hard.stopped[0] <= 200


def test_the_rule_of_hopelessness():
    budget = Budget(1000, 10, 0.99)
    best = np.array([0.0, 0.43, 0.45, 0.95])
    assert not hopeless(best, 240, budget).any()
    assert hopeless(best, 250, budget).tolist() == [True, True, False, False]
    assert hopeless(best, 500, budget).tolist() == [True, True, True, False]
    # At the end the rule is still laxer than the threshold itself.
    assert not hopeless(np.array([0.95]), 1000, budget).any()


def test_a_memory_brought_back_goes_on_as_it_would_have(tmp_path):
    whole = Memory(Shape(11), 30, [0, 1], (1000.0,), generator, "cpu")
    for _ in range(7):
        whole.step()
    whole.keep(torch.tensor([1]))
    (saved,) = states.frozen([whole], tmp_path)
    again = Memory(Shape(11), 30, [0, 1], (1000.0,), generator, "cpu")
    states.put_back(again, saved)
    for _ in range(9):
        whole.step()
        again.step()
    assert torch.equal(again.flat, whole.flat)
    assert again.accuracy() == whole.accuracy()


@pytest.mark.parametrize(("d", "elsewhere"), [(8, 22.5), (16, 58)])
def test_trained_capacities_of_an_independent_implementation(d, elsewhere):
    """Measured elsewhere at 1024 to 4096 steps, one to two seeds. Fresh embeddings move a single
    capacity by some 15 %, so the mean of four must agree to 20 %."""
    searches = [Search.between(d, d * d // 2) for _ in range(4)]

    while (trial := next_trial(searches)) is not None:
        N, who = trial
        model = Memory(Shape(d), N, who, (1000.0,), generator, "cpu")
        best = train(Plain(), model, Budget(1024, 32, 0.99)).best
        for i, repeat in enumerate(who):
            searches[repeat].tell(N, best[i] >= 0.99)
    assert np.mean([search.low for search in searches]) == pytest.approx(elsewhere, rel=0.2)


def test_no_memory_beats_the_bound():
    """At 32 bits per parameter, and at d = 64 even at 2, as the measured capacities show."""
    for d, capacity in ((8, 23), (16, 63), (32, 178), (64, 517)):
        assert capacity < theory.most_associations(32 * d * d, None, 0.01)
    assert theory.most_associations(2 * 64**2, None, 0.0) > 517


def test_embeddings_are_unit_vectors():
    rows = data.unit_rows(50, 7, generator(0, 0), "cpu")
    assert rows.norm(dim=1).numpy() == pytest.approx(np.ones(50), abs=1e-6)
    assert abs(float((rows[:25] * rows[25:]).sum(1).mean())) < 4 / math.sqrt(7 * 25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("words", [["linear", "--method", "trained"], ["mlp"], ["scaling"]])
def test_the_early_stop_changes_no_capacity_of_the_small_grid(words, seed, tmp_path):
    tables = []
    for flag in ("--early-stop", "--no-early-stop"):
        argv = ["recall", *words, flag, "--quiet", "--out", str(tmp_path / flag)]
        assert run([*argv, "--threads", "1", "--seed", str(seed)]) == 0
        name = "scaling.csv" if words == ["scaling"] else "capacity.csv"
        (path,) = (tmp_path / flag).glob(f"recall/*/*/{name}")
        tables.append(path.read_bytes())
    assert tables[0] == tables[1]
