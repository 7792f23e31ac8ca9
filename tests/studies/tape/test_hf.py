"""TAPE in `transformers`, on tiny checkpoints made here; nothing is downloaded."""

import os
import subprocess
import sys

import pytest
import torch

from toolbox.app import run

transformers = pytest.importorskip("transformers")

from toolbox.studies.tape.hf_modeling import (  # noqa: E402
    TapeLlamaConfig,
    TapeLlamaForCausalLM,
    TapeUpdate,
)
from toolbox.studies.tape.state import Update  # noqa: E402


@pytest.fixture
def checkpoint(tmp_path):
    """A directory with a Llama of random weights, 6 heads and 3 key-value heads."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=48, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=3, intermediate_size=56, initializer_range=0.1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_the_update_is_that_of_the_study():
    config = TapeLlamaConfig(hidden_size=24, num_attention_heads=3, num_hidden_layers=1)
    theirs, ours = TapeUpdate(config), Update(24, 3, 12)
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.nn.init.normal_(a)
        b.data.copy_(a.data)
    z, attended = torch.randn(2, 2, 3, 5, 8)
    m = torch.randn(2, 5, 24)
    assert torch.allclose(theirs(z, attended, m), ours(z, attended, m), atol=1e-5)


def test_a_converted_checkpoint_is_loaded_by_transformers_alone(checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        run(["tape", "hf-convert", "--source", str(checkpoint), "--quiet", "--out", str(out)]) == 0
    )
    (folder,) = (out / "tape" / "hf-convert").glob("*/config.json")
    code = f"""
import torch, transformers
a = transformers.LlamaForCausalLM.from_pretrained({str(checkpoint)!r}).eval()
b = transformers.AutoModelForCausalLM.from_pretrained(
    {str(folder.parent)!r}, trust_remote_code=True).eval()
tokens = torch.arange(20)[None] % 40
with torch.no_grad():
    assert type(b).__name__ == "TapeLlamaForCausalLM"
    assert sum(w.numel() for w in b.tape.parameters()) == 3 * (2 * 3 * 24 + 48 * 24 + 9)
    assert (a(tokens).logits - b(tokens).logits).abs().max() < 1e-5
    mask = torch.ones_like(tokens)
    how = dict(attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0)
    made = [m.generate(tokens, **how) for m in (a, b)]
    assert torch.equal(*made)
import sys
assert not any(name.startswith("toolbox") for name in sys.modules)
"""
    own = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **own},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_fine_tuned_checkpoint_is_a_tape_model(tmp_path):
    words = ["tape", "hf-finetune", "--preset", "smoke", "--quiet", "--out", str(tmp_path)]
    assert run(words) == 0
    (folder,) = (tmp_path / "tape" / "hf-finetune").glob("*/config.json")
    model = TapeLlamaForCausalLM.from_pretrained(folder.parent, local_files_only=True)
    assert model.tape[0].w_a.abs().max() > 0


@pytest.mark.parametrize("source", ["meta-llama/Llama-2-7b-hf", "/no/such/place"])
def test_names_of_a_hub_are_refused(source, tmp_path, capsys):
    assert run(["tape", "hf-check", "--source", source, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "is no directory with a config.json" in said
    assert len(said.strip().splitlines()) == 1


def test_another_architecture_is_refused(tmp_path, capsys):
    transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=9).save_pretrained(tmp_path)
    assert run(["tape", "hf-check", "--source", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "not a llama" in capsys.readouterr().err
