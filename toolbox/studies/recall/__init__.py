"""Understanding Factual Recall in Transformers via Associative Memories (arXiv:2412.06538).

Nichani, Lee, Bietti, ICLR 2025.

Associative memories. A d x d matrix with random embeddings stores N associations with N log N
proportional to d^2; an MLP of width m with N log N proportional to m d (`recall linear`, `mlp`,
`curve`).

Transformers. One layer of attention and MLP recalls a number of facts that grows linearly with its
parameters, and either the value matrices or the MLP can do the storing (`recall scaling`,
`tradeoff`, `train`).

Sequential learning. Linear attention from small initialisation first learns the relation, waits on
a plateau at loss log D, hallucinating an answer of the right kind, then learns the subject
(`recall sequential`).

Optimality. B bits recall at most about B / log2 D random facts (`recall bound`).

Scaled down in the small presets: dimensions (8 to 32 instead of 256), the budget of training steps
(a capacity at 1024 steps is some 10 % below that at 4096), batch and prompt length. The presets
`paper` restore the settings of the official code.
"""
