"""From a card's word to the function that a registry names for it."""

import importlib
from collections.abc import Callable
from typing import Any


def function_of(place: str) -> Callable[..., Any]:
    """The function at "package.module:function"."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
