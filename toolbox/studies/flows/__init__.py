"""Central flows (J. Cohen, A. Damian, A. Talwalkar, J. Z. Kolter, J. D. Lee, Understanding
Optimization in Deep Learning with Central Flows, arXiv:2410.24206, ICLR 2025).

Full-batch gradient descent drives the sharpness (the largest eigenvalue of the Hessian) up to 2/eta
and then oscillates there. Claims: one differential equation, the central flow, follows the
time-averaged trajectory, which the gradient flow does not; its covariance predicts the size of the
oscillations, and so the average loss and squared gradient; along it the sharpness stays at 2/eta
and the loss never rises.

Scaled down: the paper trains convolutional networks and transformers on 1,000 images of CIFAR-10,
on a GPU. Here a network of 1,754 parameters learns 100 images of 8 x 8 pixels, on a processor core.

For your own network use `toolbox.studies.flows.api.central_flow`: see docs/building-blocks.md.
"""
