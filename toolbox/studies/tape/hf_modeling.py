"""TAPE for `transformers`: a Llama whose positional state every layer updates.

The file stands alone: `hf-convert` puts a copy beside the weights, so that `transformers` loads the
model without this package (`trust_remote_code=True`).

Per key-value head one state z = c + i s, which starts as the model's own rotary embedding. Queries
use the state of their group's head; the attended states of a group's queries are averaged. With
W_a = W_u = 0 the model computes what the Llama did.
"""

import torch
import torch.nn.functional as fn
from torch import nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast


class TapeLlamaConfig(LlamaConfig):
    """A Llama's configuration and `tape_position_size`, P; 0 means four times the heads."""

    model_type = "tape_llama"

    def __init__(self, tape_position_size: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.tape_position_size = tape_position_size or 4 * self.num_attention_heads


class TapeUpdate(nn.Module):
    """c <- c + W_a c^, then c <- c + W_d (silu(W_x m) * (W_u c)); s likewise."""

    def __init__(self, config: TapeLlamaConfig):
        super().__init__()
        H, P = config.num_key_value_heads, config.tape_position_size
        self.w_a = nn.Parameter(torch.zeros(H, H))
        self.w_u = nn.Parameter(torch.zeros(P, H))
        self.w_d = nn.Parameter(torch.zeros(H, P))
        self.w_x = nn.Parameter(torch.zeros(P, config.hidden_size))

    def forward(self, z, attended, m):
        """z, attended (B, H, N, D), m (B, N, C) -> the next state."""
        B, H, N, _ = attended.shape
        z = z.expand_as(attended) + torch.einsum("gh,bhnd->bgnd", self.w_a, attended)
        psi = fn.silu(m @ self.w_x.T)
        outer = (self.w_d.T[:, :, None] * self.w_u[:, None, :]).flatten(1)
        A = (psi @ outer).view(B, N, H, H)
        return z + torch.einsum("bngh,bhnd->bgnd", A, z)


class TapeLlamaForCausalLM(LlamaForCausalLM):
    """A Llama with TAPE; the state is passed on from layer to layer, never stored in a module."""

    config_class = TapeLlamaConfig

    def __init__(self, config: TapeLlamaConfig):
        super().__init__(config)
        self.tape = nn.ModuleList(TapeUpdate(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, TapeUpdate):
            nn.init.zeros_(module.w_a)
            nn.init.zeros_(module.w_u)
            nn.init.normal_(module.w_d, std=self.config.initializer_range)
            nn.init.normal_(module.w_x, std=self.config.initializer_range)

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        cache=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        logits_to_keep=0,
        **kwargs,
    ):
        """As `LlamaForCausalLM.forward`. A cache holds rotated keys, and values with states."""
        model, config = self.model, self.config
        x = model.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and cache is None:
            cache = DynamicCache(config=config)
        N = x.shape[1]
        past = cache.get_seq_length() if cache is not None else 0
        if position_ids is None:
            position_ids = torch.arange(past, past + N, device=x.device)[None]
        cos, sin = model.rotary_emb(x, position_ids=position_ids)
        F = cos.shape[-1] // 2
        # Both halves of the table are the same; c in the first F columns, s in the others.
        z = torch.cat([cos[..., :F], sin[..., :F]], dim=-1)[:, None]
        mask = self._allowed(attention_mask, N, past, x)
        for index, layer in enumerate(model.layers):
            last = index + 1 == config.num_hidden_layers
            x, z = self._layer(layer, self.tape[index], index, last, x, z, mask, cache)
        x = model.norm(x)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(x[:, keep, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=config.vocab_size)
        return CausalLMOutputWithPast(loss=loss, logits=logits, cache=cache)

    @staticmethod
    def _allowed(attention_mask, N, past, x):
        """Which keys a query may see, (B or 1, 1, N, past + N), or None: causal, no padding."""
        padded = attention_mask is not None and not bool(attention_mask.all())
        if not padded and (past == 0 or N == 1):
            return None
        at = torch.arange(past + N, device=x.device)
        allowed = (at[None] <= at[past:, None])[None, None]
        if padded:
            allowed = allowed & attention_mask[:, None, None].bool()
            # A query of the padding itself sees its own place, so that no row is empty.
            allowed = allowed | (at[None] == at[past:, None])
        return allowed

    def _layer(self, layer, tape, index, last, x, z, mask, cache):
        attention = layer.self_attn
        B, N, _ = x.shape
        D = attention.head_dim
        h = layer.input_layernorm(x)
        q, k, v = (
            project(h).view(B, N, -1, D).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        heads, kv = q.shape[1], k.shape[1]
        group = heads // kv
        z = z.expand(B, kv, N, D).to(v.dtype)
        q = _rotate(q, z.repeat_interleave(group, dim=1))
        k = _rotate(k, z)
        if not last:
            v = torch.cat([v, z], dim=-1)
        if cache is not None:
            k, v = cache.update(k, v, index)
        wide = v.shape[-1]
        fill = (0, wide - D)
        # Zeros in q and k: fused kernels want the width of the values. They add nothing to q k.
        out = fn.scaled_dot_product_attention(
            fn.pad(q, fill),
            fn.pad(k, fill).repeat_interleave(group, dim=1),
            v.repeat_interleave(group, dim=1),
            attn_mask=mask,
            is_causal=mask is None and N > 1,
            scale=attention.scaling,
        )
        x = x + attention.o_proj(out[..., :D].transpose(1, 2).reshape(B, N, -1))
        m = layer.mlp(layer.post_attention_layernorm(x))
        if not last:
            z = tape(z, out[..., D:].view(B, kv, group, N, D).mean(dim=2), m)
        return x + m, z


def _rotate(u, z):
    """(u1 + i u2)(c + i s) in the half-split layout of Llama."""
    half = u.shape[-1] // 2
    u1, u2, c, s = u[..., :half], u[..., half:], z[..., :half], z[..., half:]
    return torch.cat([u1 * c - u2 * s, u2 * c + u1 * s], dim=-1)
