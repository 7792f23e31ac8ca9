"""Adapters: what they start as, what they train, and how much."""

from dataclasses import replace

import pytest
import torch

from toolbox.app import run
from toolbox.studies.tape import adapters, compare, corpus, finetune, training
from toolbox.studies.tape.flags import Finetune, Lm
from toolbox.studies.tape.model import Decoder, Shape
from toolbox.studies.tape.names import METHODS

SHAPE = Shape(33, 64, 2, 4, 128, "rope", trained=32)
ADDED = {
    "none": 0, "interp": 0, "embnorm": 2432, "tape": 4768, "tape-frozen": 4736, "lora": 10_624,
    "lora-matched": 4480, "longlora": 10_624, "theta": 10_624, "full": 86_464,
}  # fmt: skip
"""Trained numbers by hand: embedding 33 x 64, five norms of 64; TAPE 2 (2 H P + C P + H^2) with
H = 4, P = 16; LoRA 2 layers, 4 matrices, 2 r C."""


def base(seed=0):
    return Decoder(SHAPE, torch.Generator().manual_seed(seed))


def adapted(method, factor=2.0):
    return adapters.adapted(base(), method, factor, 8, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", METHODS)
def test_trained_numbers_are_those_of_the_formula(method):
    assert adapters.sizes(adapted(method))[0] == ADDED[method]


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("none", "theta")])
def test_every_method_starts_as_the_interpolated_model(method):
    tokens = torch.randint(33, (2, 24), generator=torch.Generator().manual_seed(0))
    interpolated = base()
    interpolated.shape = replace(SHAPE, factor=2.0)
    model = adapted(method)
    model.groups = 0
    assert torch.allclose(model(tokens), interpolated(tokens), atol=1e-5)
    plain = base()(tokens)
    assert torch.allclose(adapted("none")(tokens), plain, atol=1e-6)


def test_interpolation_by_2_puts_every_other_position_where_training_was():
    model = adapted("interp")
    state, _ = model.encoding(torch.arange(8), 8)
    plain, _ = base().encoding(torch.arange(4), 4)
    assert torch.allclose(state[:, :, ::2], plain)


@pytest.mark.parametrize("method", ["embnorm", "tape", "tape-frozen", "lora", "longlora", "full"])
def test_steps_change_what_is_trained_and_nothing_else(method):
    model = adapted(method)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = training.optimiser(model, 0.01, 1.0, decay=0.0)
    p = Finetune()
    rng = compare.np.random.default_rng(0)
    for _ in range(3):
        batch = finetune.draw(p, rng, None, 4, 40)
        training.step(model, optimiser, batch, 1.0, "cpu")
    unmoved = {name for name, w in model.named_parameters() if torch.equal(w, before[name])}
    frozen = {name for name, w in model.named_parameters() if not w.requires_grad}
    assert frozen <= unmoved
    # The state behind the last layer is not used, and of embeddings only tokens in the batch move.
    assert all(".1.update." in name for name in unmoved - frozen)
    assert any(w.requires_grad for w in model.parameters())
    if method == "tape-frozen":
        assert "layers.0.update.w_a" in frozen


def test_lengths_of_adaptation_make_whole_groups():
    assert finetune.sizes(Finetune()) == [32, 40, 48, 56, 64]
    passkey = finetune.sizes(Finetune(task="passkey"))
    assert all((n + 4) % 8 == 0 and 32 <= n <= 64 for n in passkey)
    assert finetune.sizes(Finetune(task="lm", n=128)) == [256]


def test_a_comparison_without_embedding_and_norms_is_refused(tmp_path, capsys):
    words = ["tape", "finetune", "--methods", "tape,lora", "--out", str(tmp_path)]
    assert run(words) == 2
    assert "leave out embnorm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["finetune", "--n", "40"], "multiple of 16"),
        (["finetune", "--methods", "embnorm,prompts"], "choose among"),
        (["pointer", "--pe", "rope,rotary"], "choose among"),
        (["pointer", "--train-length", "12"], "--train-length 12: is below 18"),
        (["pointer", "--dim", "36"], "multiple of 2 --heads"),
        (["passkey", "--digits", "12"], "do not fit"),
        (["pointer", "--pe", "abacus"], "numbers digits"),
        (["lm", "--text", "/no/such/file"], "No such file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(words, said, tmp_path, capsys):
    assert run(["tape", *words, "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.strip().splitlines()) == 1


def test_windows_of_all_lengths_end_at_the_same_characters():
    found = corpus.corpus("pydoc_data.topics", 64)
    long, short = (corpus.ending(found.test, 5, 64, n) for n in (64, 16))
    assert (long[:, -17:] == short).all()
    assert long.shape == (5, 65)


def test_the_encodings_of_a_replicate_see_the_same_batches():
    """RandPE draws positions from a stream of its own."""
    rngs = [compare.np.random.default_rng(5) for _ in range(2)]
    batches = [compare.drawn(compare.Pointer(), rng, None).tokens for rng in rngs]
    assert (batches[0] == batches[1]).all()


def test_perplexity_of_a_model_that_guesses_is_the_number_of_tokens():
    found = corpus.corpus("pydoc_data.topics", 64)
    model = Decoder(Shape(found.vocab, 16, 2, 2, 16), torch.Generator().manual_seed(0))
    model.head.weight.data.zero_()
    rows = corpus.ending(found.test, 3, 64, 40)
    measured = compare.perplexity(model, rows, "cpu")
    assert measured["ppl"] == pytest.approx(found.vocab)
    assert Lm().text == "pydoc_data.topics"
