"""Anytime Acceleration of Gradient Descent (Zhang, Lee, Du, Chen, arXiv:2411.17668, COLT 2025).

Theorem 1. One infinite stepsize schedule, fixed in advance, makes plain gradient descent on a
convex L-smooth f satisfy f(x_T) - f* <= C L |x_1 - x*|^2 / T^theta at every stopping time T, with
theta = 2p/(1+p) = 1.1195 and p = log2(1 + sqrt 2). `gd anytime` follows the worst case of the
schedule to T = 1e4 (small) or 1e6 (paper) and tests the exponent.

Silver is not anytime. The silver schedule reaches T^-1.27 at its own horizons 2^k - 1 only, and
one step later its worst case is 0.0858, whatever T. Constant steps are Theta(1/T) throughout.

Theorem 2. Restarted, the schedule needs O(kappa^0.893 log(1/eps)) steps on strongly convex
functions of condition number kappa. Constant steps need order kappa.

The paper is theory and has no experiment to scale down: worst cases are exact where the tables say
theorem or certified, and lower bounds elsewhere; strongly convex counts are over a family of
functions. Both stop at finite T and kappa, so exponents are fits, not limits.
"""
