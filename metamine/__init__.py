"""metamine: the experiment runner for meta-learning on tabular data."""

__version__ = "0.1.0"
