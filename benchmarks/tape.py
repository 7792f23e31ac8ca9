import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
from toolbox.studies.tape import model as M


def bench(dim, H, layers, B, N, configs, reps=7):
    ts = {c: [] for c in configs}
    ms = {}
    for c in configs:
        pe, fast, long = c
        m = M.Decoder(M.Shape(64, dim, layers, H, 2 * dim, pe), torch.Generator().manual_seed(0))
        m.fast = fast
        ms[c] = (m, torch.optim.AdamW(m.parameters(), 1e-4, fused=True))
    x = torch.randint(0, 64, (B, N))
    for r in range(reps):
        for c in configs:
            M.LONG = c[2]
            m, o = ms[c]
            t = time.process_time()
            w = time.perf_counter()
            l = m(x)
            torch.nn.functional.cross_entropy(l.flatten(0, 1), x.flatten()).backward()
            o.step()
            o.zero_grad()
            ts[c].append(
                time.process_time() - t if torch.get_num_threads() == 1 else time.perf_counter() - w
            )
    base = None
    for c in configs:
        s = sorted(ts[c])
        med = s[len(s) // 2] * 1e3
        base = base or (med, s[0] * 1e3)
        print(
            dim,
            H,
            layers,
            B,
            N,
            c,
            f"median {med:.1f} min {s[0] * 1e3:.1f} ratio {med / base[0]:.2f} min ratio {s[0] * 1e3 / base[1]:.2f}",
        )


cs = [("rope", True, 0), ("tape", True, 0), ("tape", True, 10**9), ("tape", False, 0)]
bench(64, 4, 2, 32, 48, cs)
bench(64, 4, 3, 8, 128, cs)
bench(256, 8, 4, 2, 512, cs, 5)
