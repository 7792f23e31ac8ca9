"""REFUEL on Hugging Face causal language models; `Refuel` is the trainer for your own code."""

from .trainer import Refuel, Settings

__all__ = ["Refuel", "Settings"]
