"""Kinds of figures: the word of a card and the function that draws it (what each takes is in `options`).

Light to import.
"""

import difflib
from collections.abc import Iterable

FIGURES: dict[str, str] = {
    "phase_map": "sgdphases.figures.maps:phase_map",
    "maps_overview": "sgdphases.figures.maps:maps_overview",
    "phase_diagram": "sgdphases.figures.diagram:phase_diagram",
    "trajectories": "sgdphases.figures.trajectories:trajectories",
    "curves": "sgdphases.figures.curves:curves",
    "scaling": "sgdphases.figures.scaling:scaling",
    "batch_collapse": "sgdphases.figures.scaling:batch_collapse",
    "spacing": "sgdphases.figures.spacing:spacing",
}


def one_of(word: str, allowed: Iterable[str], what: str) -> str:
    """Return `word` if it is allowed.

    Args:
        word: What was said.
        allowed: What may be said.
        what: What kind of word it is, for the message.

    Returns:
        The word.

    Raises:
        ValueError: Otherwise, with the allowed words and a guess.
    """
    allowed = list(allowed)
    if word in allowed:
        return word
    close = difflib.get_close_matches(str(word), allowed, n=1)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(f"unknown {what} {word!r}{guess}; allowed: {', '.join(sorted(allowed))}")
