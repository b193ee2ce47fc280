"""How annotations are held to while tests run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException, BeartypeDecorHintPep585DeprecationWarning

# As for a type checker, an int will do for a float.
_hold_to_hints = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which then raises if an argument or the result is not what its hint says.

    Hints that beartype cannot hold a single method to, such as Self, leave it as it is.
    """
    with warnings.catch_warnings():
        # OmegaConf's classes derive from typing's old names.
        warnings.simplefilter("ignore", BeartypeDecorHintPep585DeprecationWarning)
        try:
            return _hold_to_hints(function)
        except BeartypeDecorHintException:
            return function
