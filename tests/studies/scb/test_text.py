"""The fit to a text: classes, windows, exact least squares against direct solutions."""

import numpy as np
import pytest

from toolbox.core.errors import UsageError
from toolbox.studies.scb import fit, text


def test_windows_hold_the_tokens_before_each_output():
    tokens = np.arange(30)
    rng = np.random.default_rng(0)
    for include in (True, False):
        X, last, out = text.windows(tokens, 4, include, 100, rng)
        np.testing.assert_array_equal(out, last + 1)
        np.testing.assert_array_equal(X, last[:, None] - np.arange(4) - (0 if include else 1))
        assert out.max() == 29
        assert X.min() == 0
    assert len(text.windows(tokens, 4, True, 5, rng)[2]) == 5


def test_classes_given_by_the_user_cover_every_character():
    mapping, names = text.class_map(r"aeiou \s .,", 0, "")
    assert names == ["aeiou", "space", ".,", "(rest)"]
    found = text.encode("a b. é", mapping, 4)
    np.testing.assert_array_equal(found, [0, 1, 3, 2, 1, 3])
    with pytest.raises(UsageError, match="'a' is in two groups"):
        text.class_map("ab ca", 0, "")


def test_automatic_classes_find_the_two_halves_of_an_alternating_text():
    """Letters of one half are always followed by the other: merging across loses information."""
    rng = np.random.default_rng(1)
    pairs = zip(rng.choice(list("abc"), 3000), rng.choice(list("xyz"), 3000), strict=True)
    mapping, names = text.class_map("automatic", 3, "".join(a + b for a, b in pairs))
    assert sorted(names) == ["(rest)", "abc", "xyz"]
    assert mapping["a"] == mapping["b"] == mapping["c"] != mapping["x"]


def test_a_split_keeps_every_block_once():
    blocks = [f"block {i}\n" * (i + 1) for i in range(20)]
    train, test = text.split(blocks, np.random.default_rng(2))
    assert len(train) + len(test) == sum(map(len, blocks))
    assert 0.6 < len(train) / (len(train) + len(test)) < 0.9


def scb_windows(rng, N=3, T=5, n=20_000):
    """Windows of an exact contextual bigram with a known value and attention."""
    V = rng.dirichlet(np.ones(N) * 0.5, size=N).T
    a = np.eye(T)[[1, 3, 0]]
    X, last = rng.integers(0, N, (n, T)), rng.integers(0, N, n)
    seen = X[np.arange(n), a[last].argmax(axis=1)]
    out = (rng.random(n)[:, None] >= np.cumsum(V, axis=0).T[seen][:, :-1]).sum(axis=1)
    return V, a, (X, last, out)


def test_least_squares_recovers_an_exact_contextual_bigram():
    rng = np.random.default_rng(3)
    V, a, side = scb_windows(rng)
    m = fit.moments(*side, 3)
    value, attention = fit.fit_scb(m, 5, 1e-3, rng)
    np.testing.assert_allclose(attention, a, atol=0.05)
    np.testing.assert_allclose(value, V, atol=0.05)


def test_losses_from_moments_are_those_of_the_windows():
    rng = np.random.default_rng(4)
    V, a, (X, last, out) = scb_windows(rng, n=500)
    W = fit.predictor(V, a + 0.1)
    onehot = np.eye(3)[X].reshape(500, -1)
    residual = np.einsum("boi,bi->bo", W[last], onehot) - np.eye(3)[out]
    expected = 0.5 * (residual**2).sum(axis=1).mean()
    assert fit.moments(X, last, out, 3).loss(W) == pytest.approx(expected)


def test_each_half_step_solves_its_least_squares_problem():
    rng = np.random.default_rng(5)
    V, a, side = scb_windows(rng, n=800)
    m = fit.moments(*side, 3)
    a = a + 0.1 * rng.random(a.shape)
    best = fit.fit_value(m, a, 0.0)
    for _ in range(10):
        other = best + 0.05 * rng.normal(size=V.shape)
        assert m.loss(fit.predictor(best, a)) <= m.loss(fit.predictor(other, a))
    best_a = fit.fit_attention(m, best, 5, 0.0)
    for _ in range(10):
        other = best_a + 0.05 * rng.normal(size=a.shape)
        assert m.loss(fit.predictor(best, best_a)) <= m.loss(fit.predictor(best, other))
    linear = m.loss(fit.fit_linear(m, 1e-6))
    assert linear <= m.loss(fit.predictor(best, best_a)) + 1e-9  # the larger class


def test_a_text_that_cannot_be_read_is_refused_by_name(cli, tmp_path):
    for content in (None, b"\xff\xfe\xff", b"short\n"):
        path = tmp_path / "text.txt"
        if content is not None:
            path.write_bytes(content)
        result = cli("scb", "fit", path)
        assert result.code == 2
        assert f"FILE {path}" in result.stderr
    assert cli("scb", "fit", "--T", "900").code == 2
