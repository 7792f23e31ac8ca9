"""A study for the tests of the foundation: a biased coin, and a tiny torch training."""
