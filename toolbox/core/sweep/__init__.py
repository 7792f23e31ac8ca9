"""Sweeps: a YAML file becomes a grid of cells, each of them one run of one command."""
