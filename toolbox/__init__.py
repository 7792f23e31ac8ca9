"""toolbox: the experiments of ten deep-learning-theory papers on the reader's own machine."""

__version__ = "0.1.0"
