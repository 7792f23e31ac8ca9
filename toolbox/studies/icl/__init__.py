"""Task diversity shortens the in-context-learning plateau (J. Kim, S. Kwon, J. Y. Choi, J. Park,
J. Cho, J. D. Lee, E. K. Ryu, arXiv:2410.05448).

A sequence model trained from scratch on one in-context task waits on a loss plateau, the optimum
without context, before it drops. Claims:

C1  Trained on several diverse tasks at once, at equal total batch, a task leaves its plateau after
    fewer steps than trained alone. More of the same task in place of the others does not do that.
C2  The more tasks there are, the earlier it leaves. Full parity is learned in a mix alone.
C3  What is shared: a model that is just leaving the plateau of task A shortens that of task B.
C4  It is not the scale of the losses: tasks without a context signal do not help.

Scaled down: three dimensions, sixteen examples, two layers of width 32 and hundreds to thousands of
steps in place of ten, 120, twelve of width 256 and a million. The learning rate is thirty times
the paper's; in three dimensions the effect depends on it and turns round at small ones, in four it
does not. docs/icl-search.md lists every configuration tried.
"""
