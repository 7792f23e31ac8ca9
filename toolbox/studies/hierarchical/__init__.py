"""Learning hierarchical polynomials of multiple nonlinear features (arXiv:2411.17201).

Features. The target is a polynomial g of r quadratic features p_k(x) = x' A_k x of data on the
sphere. A three-layer network trained layer by layer finds the span of the features with about d^4
samples, whatever the degree of g. `hierarchical recover` measures the exponent, `spectrum` shows
the matrix that one gradient step applies, `width` what a finite second layer costs.

Error. With the features found, the outer layer learns g from few samples; random features of the
same network do not, and kernel methods need d^{2p}. `hierarchical error` and `kernel` compare.

Transfer. The features also serve another polynomial of them (`hierarchical transfer`).

Scaled down: the paper's sizes are not known to us and there is no official code, so sizes, features
(`flat`: all eigenvalues +-c) and links are chosen here. Several first-layer steps
(`--inner-steps 3`) are an extension: the algorithm as we understand it takes one. The outer layer
is fitted to its minimum (ridge) where the paper runs gradient descent with weight decay.
"""
