"""What makes a function a kind of figure: its options are checked, and it draws in the project's style."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from matplotlib.figure import Figure

from sgdphases.figures.registry import one_of
from sgdphases.figures.style import theme


def kind(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Make `draw(cube, fits, *, options...)` a kind of figure.

    Args:
        draw: The function; its keyword-only arguments are the options that a card may set.

    Returns:
        The same function. An option that it does not have is a `ValueError` that names those it has.
    """
    known = options_of(draw)

    @wraps(draw)
    def checked(cube: Any, fits: Any, **options: Any) -> Figure:
        for word in options:
            one_of(word, known, f"option of the figure {draw.__name__}")
        missing = [word for word, needed in known.items() if needed and word not in options]
        if missing:
            raise ValueError(f"the figure {draw.__name__} needs the option {', '.join(missing)}")
        with theme():
            return draw(cube, fits, **options)

    return checked


def options_of(draw: Callable[..., Figure]) -> dict[str, bool]:
    """Options of a drawing function, each with whether the card must set it."""
    parameters = inspect.signature(draw).parameters.values()
    return {row.name: row.default is row.empty for row in parameters if row.kind is row.KEYWORD_ONLY}
