"""Learning and Transferring Sparse Contextual Bigrams with Linear Transformers (arXiv:2410.23438).

Learning. The next token follows one transition matrix from a sparse set of earlier positions that
the last token picks. A one-layer linear transformer trained by preconditioned, projected, proximal
gradient steps finds the matrix and the positions: first a phase whose samples grow with the context
length T, then one whose samples do not (log T).

Transfer. A model pretrained on a correlated task skips the first phase. `scb transfer` builds
tasks at an exact correlation and looks for the one at which this stops paying.

Proximal against SGD. Without the l1 term plain steps stay noisy or slow. `scb compare` gives each
side its own best step size and also rounds and refits both, which removes the difference.

Softmax. A softmax transformer learns similar maps at a similar loss; `scb softmax` measures how
similar. `scb fit` fits the model to a text, which the paper does not do.

Scaled down: `small` has T = 400 to 2000 where the paper's figure has T = 5000 (from memory; its
batch, penalty and steps are unknown to us). Constants of the theorems are not tested, only orders.
There is no official code: constants of the algorithm not fixed by the paper are chosen here.
"""
