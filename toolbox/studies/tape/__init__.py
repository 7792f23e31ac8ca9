"""Contextualised equivariant positional encoding, TAPE (arXiv:2501.00712).

Claims: a TAPE model starts as the RoPE model that it is built on and stays equivariant for any
weights, so that a shift of all positions changes nothing (exact, `tape check`). It is said to
extrapolate better than other encodings when trained from scratch, and to adapt a pre-trained RoPE
model to longer contexts better than LoRA at few trained parameters, at a small overhead
(`tape overhead`).
Scaled down: models of about 10^5 parameters and synthetic tasks, not C4, Llama-2-7B and SCROLLS.
"""
