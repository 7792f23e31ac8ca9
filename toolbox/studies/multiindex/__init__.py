"""Orthogonal multi-index models (Y. Ren, J. D. Lee, arXiv:2410.09678).

Target: f*(x) = sum_{k <= P} phi(v_k . x) on Gaussian x in R^d, v_k orthonormal, P much less than d.
Claim: when phi has a second-order and a higher-order Hermite term, online SGD learns the
directions with O~(d poly(P)) samples: the second-order term finds the subspace in time log d, the
higher-order term then finds the directions in a time that does not depend on d. The higher-order
term alone (order q) needs d^(q-1); the second-order term alone finds the subspace and can never
tell the directions. Ridge regression on the second layer then fits the target.
Scaled down: d <= 128 where the paper's statements are asymptotic; batches instead of single
samples, at an equal step per sample; matched links, and neurons that do not interact.
No code of the paper is public: what the paper leaves open is fixed here and said so.
"""
