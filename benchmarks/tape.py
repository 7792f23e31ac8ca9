"""A training step of TAPE relative to RoPE's, in the fast and the literal form, on one core.

    OMP_NUM_THREADS=1 python benchmarks/tape.py

Processor seconds, medians of interleaved steps: forward, backward and AdamW of all parameters.
"""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as fn

from toolbox.studies.tape.model import Decoder, Shape

SIZES = ((64, 4, 2, 32, 48), (64, 4, 3, 8, 128), (256, 8, 4, 2, 512))
"""dim, heads, layers, batch, length."""
FORMS = (("rope", True), ("tape", True), ("tape", False))
REPEATS = 9


def main() -> None:
    torch.set_num_threads(1)
    for dim, heads, layers, batch, length in SIZES:
        tokens = torch.randint(64, (batch, length))
        made = []
        for pe, fast in FORMS:
            shape = Shape(64, dim, layers, heads, 2 * dim, pe)
            model = Decoder(shape, torch.Generator().manual_seed(0))
            model.fast = fast
            made.append((model, torch.optim.AdamW(model.parameters(), 1e-4, fused=True), []))
        for _ in range(REPEATS):
            for model, optimiser, times in made:
                began = time.process_time()
                fn.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
                optimiser.step()
                optimiser.zero_grad()
                times.append(time.process_time() - began)
        base = statistics.median(made[0][2])
        for (pe, fast), (_, _, times) in zip(FORMS, made, strict=True):
            own = statistics.median(times)
            form = "fast" if fast else "literal"
            print(
                f"dim {dim} heads {heads} length {length} {pe:4s} {form:7s} "
                f"{1e3 * own:7.1f} ms  {own / base:.2f}"
            )


if __name__ == "__main__":
    main()
