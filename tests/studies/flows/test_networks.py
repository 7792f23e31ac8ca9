"""The networks: third derivatives against differences, draws that a seed decides, sizes."""

import functools

import pytest
import torch
from torch.func import functional_call

from toolbox.core.errors import ParameterError
from toolbox.studies.flows import data, layers, networks
from toolbox.studies.flows.landscape import Point


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small(arch, act="tanh", seed=0, dtype=torch.float64):
    """A small network and six examples for it."""
    g = generator(100)
    if arch in networks.OF_TOKENS:
        inputs = torch.randint(0, 4, (6, 5), generator=g)
        targets = torch.nn.functional.one_hot(torch.randint(0, 4, (6, 5), generator=g), 4)
        weights = torch.rand(6, 5, dtype=torch.float64, generator=g)
        weights[:, :2] = 0
        shape, vocabulary = (5,), 4
    else:
        inputs = torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=g)
        targets = torch.nn.functional.one_hot(torch.randint(0, 4, (6,), generator=g), 4)
        weights = torch.full((6,), 1 / 6, dtype=torch.float64)
        shape, vocabulary = (2, 8, 8), None
    network = networks.build(arch, shape, 4, 8, 1, act, generator(seed), vocabulary)
    examples = data.Data(inputs, targets.double(), weights, shape, 4, "a test", vocabulary)
    return network.to(dtype), examples.to("cpu", dtype)


def objective(network, examples, criterion):
    """The loss as a function of all parameters in one vector, and that vector."""
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    sizes = [p.numel() for p in parameters.values()]

    def value(w):
        pieces = zip(parameters.items(), w.split(sizes), strict=True)
        named = {name: piece.reshape(p.shape) for (name, p), piece in pieces}
        return data.loss(criterion, functional_call(network, named, examples.inputs), examples)

    return value, torch.cat([p.reshape(-1) for p in parameters.values()])


def away_from_the_start(w):
    """Layers that start at 0 would hide derivatives that are wrong."""
    return w + 0.1 * torch.randn(w.shape, dtype=w.dtype, generator=generator(1))


CASES = [
    (arch, act, criterion)
    for arch in networks.ARCHITECTURES
    for act in layers.ACTIVATIONS
    for criterion in ("mse", "ce")
]


@pytest.mark.parametrize(("arch", "act", "criterion"), CASES)
def test_third_derivatives_are_differences_of_hessian_products(arch, act, criterion):
    value, w = objective(*small(arch, act), criterion)
    w = away_from_the_start(w)
    U = torch.randn(len(w), 3, dtype=w.dtype, generator=generator(2))
    v = torch.randn(len(w), dtype=w.dtype, generator=generator(3))
    v = v / v.norm()
    T, HU = Point(value, w).third(U)
    assert torch.equal(T, T.transpose(0, 1))
    assert torch.allclose(HU, Point(value, w).hessian_times(U), rtol=1e-12, atol=1e-13)
    h = 1e-4
    ahead, behind = (U.T @ Point(value, w + s * v).hessian_times(U) for s in (h, -h))
    difference = (ahead - behind) / (2 * h)
    # The error is h^2/6 times a fifth derivative, and rounding divided by h.
    assert torch.allclose(T @ v, difference, rtol=0, atol=1e-6 * float(difference.abs().max()))


@pytest.mark.parametrize(("arch", "act", "criterion"), CASES)
def test_many_vectors_at_once_are_one_by_one(arch, act, criterion):
    value, w = objective(*small(arch, act), criterion)
    point = Point(value, away_from_the_start(w))
    V = torch.randn(len(w), 4, dtype=w.dtype, generator=generator(2))
    alone = torch.cat([point.hessian_times(V[:, i : i + 1]) for i in range(4)], 1)
    together = point.hessian_times(V)
    assert torch.allclose(together, alone, rtol=0, atol=1e-13 * float(alone.abs().max()))
    # A Hessian is symmetric.
    size = float((V.T @ together).abs().max())
    assert torch.allclose(V.T @ together, together.T @ V, rtol=0, atol=1e-12 * size)


def test_the_fused_layer_norm_has_wrong_third_derivatives():
    """Why the norms are written out. When this fails, PyTorch has been mended."""

    def error(norm):
        network = torch.nn.Sequential(
            layers.linear(5, 6, generator()),
            layers.Activation("tanh"),
            norm,
            layers.linear(6, 2, generator(1)),
        )
        x = torch.randn(7, 5, dtype=torch.float64, generator=generator(2))
        examples = data.Data(
            x, torch.ones(7, 2).double(), torch.ones(7).double(), (5,), 2, "a test"
        )
        value, w = objective(network, examples, "mse")
        U = torch.randn(len(w), 1, dtype=w.dtype, generator=generator(3))
        T, _ = Point(value, w).third(U)
        ahead, behind = (
            U.T @ Point(value, w + h * U[:, 0]).hessian_times(U) for h in (1e-4, -1e-4)
        )
        difference = (ahead - behind) / 2e-4
        return float(((T @ U[:, 0] - difference) / difference).abs())

    assert error(layers.Norm(6)) < 1e-6
    assert error(torch.nn.LayerNorm(6, dtype=torch.float64)) > 0.01


@pytest.mark.parametrize("arch", networks.ARCHITECTURES)
def test_the_seed_alone_decides_the_weights(arch):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = (small(arch, seed=s)[0].state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator is left alone
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    single = small(arch, dtype=torch.float32)[0].state_dict()
    assert all(torch.equal(first[name].float(), single[name]) for name in first)


@pytest.mark.parametrize("arch", networks.ARCHITECTURES)
def test_single_precision_gives_the_same_loss(arch):
    losses = []
    for dtype in (torch.float64, torch.float32):
        value, w = objective(*small(arch, "gelu", dtype=dtype), "ce")
        assert value(w).dtype == dtype
        losses.append(float(value(away_from_the_start(w.double()).to(dtype))))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_the_sizes_are_those_of_the_paper():
    build = functools.partial(networks.build, act="gelu", generator=generator())
    images = {"shape": (3, 32, 32), "classes": 10}
    assert count(build("mlp", **images, width=256, depth=2)) == 855_050
    assert count(build("cnn", **images, width=32, depth=2)) == 544_874
    assert count(build("mlp", (1, 8, 8), 10, width=16, depth=3)) == 1754


@pytest.mark.parametrize("layer", ["linear", "convolution"])
def test_weights_are_uniform_up_to_one_over_the_root_of_the_inputs(layer):
    network = getattr(layers, layer)(16, 40, generator())
    bound = (16 if layer == "linear" else 144) ** -0.5
    for parameter in network.parameters():
        weights = parameter.detach()
        assert 0.9 * bound < float(weights.abs().max()) <= bound
    assert float(network.weight.detach().var()) == pytest.approx(bound**2 / 3, rel=0.1)


@pytest.mark.parametrize("arch", ["resnet", "vit", "transformer"])
def test_networks_whose_last_layer_starts_at_zero_answer_zero(arch):
    network, examples = small(arch)
    assert not network(examples.inputs).any()


@pytest.mark.parametrize("arch", networks.OF_TOKENS)
def test_a_position_depends_on_no_later_token(arch):
    network, examples = small(arch)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(4)))
        changed = examples.inputs.clone()
        changed[:, 3] = (changed[:, 3] + 1) % 4
        before, after = network(examples.inputs), network(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])
    assert not torch.allclose(before[:, 4], after[:, 4])  # it remembers


def test_the_lstm_and_the_norms_are_those_of_pytorch():
    x = torch.randn(3, 5, 4, dtype=torch.float64, generator=generator(5))
    ours = layers.LSTMLayer(4, 6, "tanh", generator())
    theirs = torch.nn.LSTM(4, 6, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.inputs.weight)
        theirs.bias_ih_l0.copy_(ours.inputs.bias)
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_hh_l0.copy_(ours.recurrent.bias)
        assert torch.allclose(ours(x), theirs(x)[0], atol=1e-14)
        assert torch.allclose(layers.Norm(4)(x), torch.nn.functional.layer_norm(x, (4,)))
        images = torch.randn(3, 6, 5, 5, dtype=torch.float64, generator=generator(6))
        normed = torch.nn.functional.group_norm(images, 3)
        assert torch.allclose(layers.GroupNorm(6, 3)(images), normed)
        pooled = torch.nn.functional.avg_pool2d(images, 2)
        assert torch.allclose(layers.pooled(images), pooled)


def test_the_mamba_layer_is_its_recurrence():
    """Against the definition, channel by channel and state by state."""
    layer = layers.MambaLayer(3, "gelu", generator())
    x = torch.randn(1, 4, 3, dtype=torch.float64, generator=generator(7))
    with torch.no_grad():
        u, gate = layer.enter(layer.norm(x)).chunk(2, -1)
        u = torch.nn.functional.pad(u.transpose(1, 2), (3, 0))
        u = torch.nn.functional.conv1d(
            u, layer.taps.weight[:, None], layer.taps.bias, groups=u.shape[1]
        )
        u = torch.nn.functional.gelu(u).transpose(1, 2)
        selected = layer.select(u)
        delta = torch.nn.functional.softplus(layer.step(selected[..., :1]))
        B, C = selected[..., 1:17], selected[..., 17:]
        A = -torch.exp(layer.log_decay)
        y = torch.zeros_like(u)
        for c in range(u.shape[2]):
            for s in range(16):
                h = 0.0
                for t in range(4):
                    d = delta[0, t, c]
                    h = torch.exp(d * A[c, s]) * h + d * B[0, t, s] * u[0, t, c]
                    y[0, t, c] += C[0, t, s] * h
        y = (y + layer.skip * u) * torch.nn.functional.gelu(gate)
        assert torch.allclose(layer(x), layer.leave(y), atol=1e-14)
    steps = torch.nn.functional.softplus(layer.step.bias)
    assert bool(((steps >= 0.001) & (steps <= 0.1)).all())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"arch": "rnn"}, "no architecture"),
        ({"act": "relu"}, "smooth"),
        ({"arch": "lstm"}, "tokens"),
        ({"vocabulary": 4}, "tokens"),
        ({"arch": "cnn", "depth": 4}, "depth"),
        ({"arch": "cnn", "shape": (64,)}, "images"),
        ({"arch": "vit", "shape": (1, 9, 9)}, "patches"),
        ({"arch": "vit", "width": 6}, "width"),
        ({"arch": "transformer", "vocabulary": 4, "width": 5}, "width"),
    ],
)
def test_what_does_not_fit_is_refused(change, word):
    given = {"arch": "mlp", "shape": (1, 8, 8), "classes": 10, "width": 8, "depth": 1}
    given |= {"act": "tanh", "generator": generator()} | change
    with pytest.raises(ParameterError, match=word):
        networks.build(**given)
