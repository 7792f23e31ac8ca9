"""The task families against their definitions, written out again one prompt at a time."""

import itertools
import math
from collections import Counter

import pytest
import torch

from toolbox.core.errors import ParameterError
from toolbox.studies.icl import tasks
from toolbox.studies.icl.names import CONTROLS, is_boolean, task_names

PLAIN = [name for name in task_names() if not name.endswith("-retrieval")]
PARITIES = ("parity2", "parity3", "parity")


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(name, d=5, n=7, prompts=40, seed=0):
    generator = stream(seed)
    x = tasks.inputs(is_boolean(name), (prompts, n, d), generator)
    return x, tasks.functions(name, d, n, prompts, generator)


def naive(name, x, f):
    """One label by the words of the definition; x : d numbers, f : the parts of one prompt."""
    d = range(len(x))
    if name == "quadratic":
        return sum(x[i] * f[0][i][j] * x[j] for i in d for j in d)
    if name == "relu-network":
        hidden = [max(0.0, sum(f[0][i][h] * x[i] for i in d)) for h in range(100)]
        return math.sqrt(2 / 100) * sum(v * h for v, h in zip(f[1], hidden, strict=True))
    if name == "decision-tree":
        node = 1
        while node < 16:
            node = 2 * node + (1 if x[f[0][node - 1]] > 0 else 0)
        return f[1][node - 16]
    w = f[0]
    if name in PARITIES:
        return 1 if sum(1 for i in d if w[i] == 1 and x[i] == 1) % 2 == 1 else -1
    if name == "conjunction":
        return 1 if all(x[i] == w[i] for i in d if w[i] != 0) else -1
    if name == "disjunction":
        return 1 if any(x[i] == w[i] for i in d if w[i] != 0) else -1
    z = sum(w[i] * x[i] for i in d)
    return {
        "linear": z,
        "sparse-linear": z,
        "leaky-relu": z if z > 0 else z / 2,
        "relu": max(z, 0.0),
        "logistic": 1 / (1 + math.exp(-z)),
        "sine": math.sin(z),
    }[name]


@pytest.mark.parametrize("name", [n for n in PLAIN if n not in CONTROLS])
def test_every_label_is_the_one_of_the_definition_in_words(name):
    x, f = drawn(name)
    y = tasks.evaluate(name, x, f)
    for p in range(len(x)):
        parts = [part[p].tolist() for part in f]
        expected = [naive(name, row, parts) for row in x[p].tolist()]
        assert y[p].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_truth_table_gives_equal_inputs_equal_labels_and_different_ones_fair_coins():
    task = tasks.make("truth-table", 2, 12, stream())
    x, y = task.draw(stream(1), 4000)
    labels = {}
    for p in range(len(x)):
        for row, label in zip(x[p].tolist(), y[p].tolist(), strict=True):
            assert labels.setdefault((p, *row), label) == label
    tables = Counter(
        tuple(labels[p, a, b] for a in (-1, 1) for b in (-1, 1))
        for p in range(len(x))
        if all((p, a, b) in labels for a in (-1, 1) for b in (-1, 1))
    )
    assert len(tables) == 16  # every function of two bits
    total = sum(tables.values())
    assert max(abs(c / total - 1 / 16) for c in tables.values()) < 5 * math.sqrt(1 / 16 / total)


def test_coins_do_not_depend_on_the_input():
    x, y = tasks.make("coin", 1, 20, stream()).draw(stream(1), 5000)
    for value in (-1, 1):
        assert abs(y[x[..., 0] == value].mean()) < 4 / math.sqrt(50_000)
    assert abs((y[:, 1:] * y[:, :-1]).mean()) < 4 / math.sqrt(95_000)


@pytest.mark.parametrize("name", [n for n in PLAIN if n not in CONTROLS])
def test_permuting_the_examples_of_a_prompt_permutes_their_labels(name):
    # With x independent and identically distributed, the examples are exchangeable given f.
    x, f = drawn(name)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    there, here = tasks.evaluate(name, x[:, order], f), tasks.evaluate(name, x, f)[:, order]
    torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("boolean", [False, True])
def test_inputs_have_mean_zero_and_the_identity_as_covariance(boolean):
    x = tasks.inputs(boolean, (40_000, 1, 3), stream())[:, 0]
    covariance = x.T @ x / len(x)
    bound = 4.5 * math.sqrt(2 / len(x))
    assert (covariance - torch.eye(3)).abs().max() < bound
    assert x.mean(dim=0).abs().max() < bound
    if boolean:
        assert set(x.flatten().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize(("name", "k", "d"), [("parity2", 2, 5), ("parity3", 3, 6)])
def test_a_sparse_parity_uses_all_subsets_of_k_alike(name, k, d):
    (mask,) = tasks.functions(name, d, 2, 20_000, stream())
    seen = Counter(tuple(row.nonzero()[:, 0].tolist()) for row in mask)
    assert set(seen) == set(itertools.combinations(range(d), k))
    share = 1 / math.comb(d, k)
    assert max(abs(c / 20_000 - share) for c in seen.values()) < 4.5 * math.sqrt(share / 20_000)


def test_a_parity_uses_all_subsets_alike_the_empty_one_too():
    (mask,) = tasks.functions("parity", 3, 2, 16_000, stream())
    seen = Counter(map(tuple, mask.tolist()))
    assert len(seen) == 8
    assert max(abs(c / 16_000 - 1 / 8) for c in seen.values()) < 4.5 * math.sqrt(1 / 8 / 16_000)


def test_sparse_weights_have_exactly_three_entries_that_are_standard_normal():
    (w,) = tasks.functions("sparse-linear", 7, 2, 20_000, stream())
    assert set((w != 0).sum(dim=1).tolist()) == {3}
    assert abs((w != 0).float().mean(dim=0) - 3 / 7).max() < 4.5 * math.sqrt(0.25 / 20_000)
    values = w[w != 0]
    assert abs(values.mean()) < 4 / math.sqrt(60_000)
    assert abs(values.var() - 1) < 4 * math.sqrt(2 / 60_000)


@pytest.mark.parametrize("name", ["conjunction", "disjunction"])
def test_literals_are_absent_with_probability_seven_tenths(name):
    (w,) = tasks.functions(name, 4, 2, 30_000, stream())
    for value, share in ((0, 0.7), (1, 0.15), (-1, 0.15)):
        found = (w == value).float().mean()
        assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / 120_000)


def test_the_variance_of_weights_is_that_of_the_definition():
    def variance(x):
        return float(x.var()), 4.5 * float(x.var()) * math.sqrt(2 / x.numel())

    (quadratic,) = tasks.functions("quadratic", 4, 2, 5000, stream())
    first, second = tasks.functions("relu-network", 3, 2, 500, stream())
    where, leaves = tasks.functions("decision-tree", 3, 2, 5000, stream())
    for tensor, expected in ((quadratic, 1 / 4), (first, 1), (second, 1), (leaves, 1)):
        found, error = variance(tensor)
        assert abs(found - expected) < error
    assert abs(leaves.mean() - 1) < 4 / math.sqrt(leaves.numel())
    assert torch.bincount(where.flatten()).tolist() == pytest.approx([25_000] * 3, rel=0.03)
    assert (where.shape[1], leaves.shape[1]) == (15, 16)


@pytest.mark.parametrize("name", [n for n in task_names() if is_boolean(n)])
@pytest.mark.parametrize("d", [4, 7])
def test_the_balance_of_labels_is_the_mean_chance_of_plus_one(name, d):
    x, y = tasks.make(name, d, 2, stream()).draw(stream(1), 20_000)
    assert set(y.flatten().tolist()) == {-1.0, 1.0}
    assert y.dtype == x.dtype == torch.float32
    if name == "boolean-retrieval":  # its tables decide; over tables it is 1/2
        means = [tasks.make(name, d, 2, stream(s)).values.mean() for s in range(400)]
        share, error = torch.stack(means).mean() / 2 + 0.5, 0.5 / math.sqrt(400 * 4 * 2**4)
        assert abs(share - 0.5) < 4 * error
        return
    expected = sum(math.comb(d, m) / 2**d * tasks.chance_of_plus(name, d, m) for m in range(d + 1))
    error = math.sqrt(
        expected * (1 - expected) / 20_000
    )  # two examples a prompt are not independent
    assert abs((y > 0).float().mean() - expected) < 4 * error


@pytest.mark.parametrize("name", ["parity2", "parity3", "parity", "conjunction", "disjunction"])
def test_the_chance_of_plus_one_depends_on_the_number_of_plus_ones_as_enumerated(name):
    d = 5
    if name in PARITIES:
        sizes = range(d + 1) if name == "parity" else [int(name[-1])]
        all_f = [set(s) for k in sizes for s in itertools.combinations(range(d), k)]
        weights = [1.0] * len(all_f)
        f = torch.tensor([[1.0 if i in s else 0.0 for i in range(d)] for s in all_f])
    else:
        every = list(itertools.product([0, 1, -1], repeat=d))
        weights = [math.prod(0.7 if v == 0 else 0.15 for v in w) for w in every]
        f = torch.tensor(every, dtype=torch.float32)
    weight = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    for x in itertools.product([-1.0, 1.0], repeat=d):
        y = tasks.evaluate(name, torch.tensor(x).expand(len(f), 1, d), (f,))[:, 0]
        chance = float(weight[y > 0].sum())
        assert chance == pytest.approx(tasks.chance_of_plus(name, d, x.count(1.0)), abs=1e-9)


@pytest.mark.parametrize("name", ["gaussian-retrieval", "boolean-retrieval"])
def test_retrieval_reads_one_of_its_fixed_tables_and_asks_for_a_key_seen_before(name):
    task = tasks.make(name, 4, 6, stream())
    again = tasks.make(name, 4, 6, stream())
    assert torch.equal(task.keys, again.keys)
    assert len(task.values) == 4
    x, y = task.draw(stream(1), 3000)
    where = {tuple(key): i for i, key in enumerate(task.keys.tolist())}
    assert len(where) == len(task.keys) == (16 if task.boolean else 32)
    tables, own = Counter(), 0
    for p in range(len(x)):
        keys = [where[tuple(row)] for row in x[p].tolist()]
        fitting = [v for v in range(4) if task.values[v, keys].tolist() == y[p].tolist()]
        assert fitting
        tables.update(fitting if len(fitting) == 1 else [])
        own += keys[-1] not in keys[:-1]
    assert len(tables) == 4
    # The place is uniform over all n: the last is new with chance (1/n) (1 - 1/K)^(n-1).
    chance = (1 / 6) * (1 - 1 / len(task.keys)) ** 5
    assert abs(own / 3000 - chance) < 4 * math.sqrt(chance / 3000)


def test_gaussian_values_have_a_standard_deviation_of_three():
    values = torch.cat(
        [tasks.make("gaussian-retrieval", 2, 3, stream(s)).values for s in range(99)]
    )
    assert float(values.std()) == pytest.approx(3, abs=4 * 3 / math.sqrt(2 * values.numel()))


@pytest.mark.parametrize("name", [*PLAIN, "gaussian-retrieval", "boolean-retrieval"])
def test_without_context_y_is_a_function_of_x_and_the_best_one(name):
    task = tasks.make(name + "/no-context", 4, 8, stream())
    x, y = task.draw(stream(1), 3000)
    label = {}
    for row, value in zip(x.flatten(0, 1).tolist(), y.flatten().tolist(), strict=True):
        assert label.setdefault(tuple(row), value) == pytest.approx(value, rel=1e-5)
    # No multiple, shift or flip of the guess predicts the task's own labels better.
    if name.endswith("-retrieval"):
        own = tasks.make(name, 4, 8, stream())
        x, y_of_task = own.draw(stream(2), 4000)
        guess = torch.tensor([[label[tuple(row)] for row in p] for p in x.tolist()])
    else:
        x, y_of_task = tasks.make(name, 4, 8, stream()).draw(stream(2), 4000)
        guess = tasks.best_guess(name, x)
    residual = y_of_task - guess
    if not task.boolean:
        for direction in (torch.ones_like(guess), guess, x.norm(dim=2)):
            terms = (residual * direction).mean(dim=1)
            assert abs(terms.mean()) <= 4.5 * terms.std() / math.sqrt(len(terms)) + 1e-6
    else:
        agreement = (guess * y_of_task).mean(dim=1)
        assert agreement.mean() > -4 * agreement.std() / math.sqrt(len(agreement))


@pytest.mark.parametrize("name", task_names())
def test_a_task_is_drawn_the_same_from_the_same_stream_and_differently_from_another(name):
    task = tasks.make(name, 4, 5, stream())
    (x, y), (x2, y2), (x3, _) = (task.draw(stream(s), 6) for s in (1, 1, 2))
    assert torch.equal(x, x2)
    assert torch.equal(y, y2)
    assert not torch.equal(x, x3)
    assert (x.shape, y.shape) == ((6, 5, 4), (6, 5))


@pytest.mark.parametrize(
    ("name", "d", "words"),
    [
        ("parity3", 3, ("tasks='parity3'", "with d 3", "give d 4")),
        ("parity2", 2, ("tasks='parity2'", "with d 2", "give d 3")),
        ("parity2/no-context", 1, ("tasks='parity2/no-context'", "with d 1")),
        ("sparse-linear", 2, ("tasks='sparse-linear'", "with d 2", "give d 3")),
        ("boolean-retrieval", 2, ("tasks='boolean-retrieval'", "with d 2", "give d 3")),
        ("cubic", 5, ("tasks='cubic'", "linear", "parity2")),
    ],
)
def test_what_does_not_exist_is_refused_in_one_sentence(name, d, words):
    with pytest.raises(ParameterError) as refusal:
        tasks.make(name, d, 8, stream())
    assert all(word in str(refusal.value) for word in words)
    assert "\n" not in str(refusal.value)


def test_keys_of_many_bits_are_distinct_signs():
    keys = tasks.make("boolean-retrieval", 70, 4, stream()).keys
    assert keys.shape == (32, 70)
    assert len(keys.unique(dim=0)) == 32
    assert set(keys.flatten().tolist()) == {-1.0, 1.0}
