"""metamine: the experiment runner for meta-learning on tabular data."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["FewShotClassifier", "FewShotRegressor", "__version__"]


def __getattr__(name: str) -> Any:
    """The estimators, imported when they are asked for: that takes seconds."""
    if name in __all__:
        from metamine.estimators import few_shot

        return getattr(few_shot, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
