"""REFUEL: regressing the relative future for multi-turn RLHF (arXiv:2410.04612, ICLR 2025).

A dialogue has H turns and one reward at its end. REFUEL takes two answers to the same message in
the middle of a dialogue, lets the current policy finish both dialogues, and regresses the
difference of the answers' log-ratios on the difference of the two final rewards. Claims: with exact
data this is the natural policy gradient step, pi exp(eta Q) / Z, which competes with every policy
that the data cover; beginnings written by the current policy beat those of a fixed data set
(covariate shift); looking to the end of the dialogue beats looking at its last turn (planning).

Scaled down: the paper trains Llama-3-8B with a simulated user and a learned reward. Here the
dialogue is a small game, `data.Game`, in which both effects exist and every value is exact. It is
ours, not the paper's. `refuel lm` runs the same loss on causal language models.
"""
