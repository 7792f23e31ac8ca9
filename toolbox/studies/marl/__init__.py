"""Offline multi-agent learning and low interaction rank (arXiv:2410.01101, ICLR 2025).

A reward has interaction rank K when it is a sum of terms in an agent's own action and at most K - 1
others' actions. Claims: a fit of low interaction rank stays accurate under another distribution of
the actions up to a factor that is polynomial in the number of agents, where that of a general
function is exponential; with such critics, decentralised policy gradients with a chi-square
regulariser find an approximate coarse correlated equilibrium from offline data.

Stand-in: the paper's own toy problem is not public. Games, sizes, behaviour policies and numbers
here are ours, built on the theory; the form of the update and of the shift coefficient is ours too.
`marl markov` is the decentralised actor-critic for Markov games with decoupled transitions;
`marl envs` plays environments of PettingZoo, whose rewards have no known rank; `marl logs` asks a
log of one's own which interaction rank explains its rewards. The paper has neither.
"""
