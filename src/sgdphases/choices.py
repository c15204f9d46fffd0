"""One way to refuse an unknown word: what it was, what it may have meant, what is allowed."""

import difflib
from collections.abc import Iterable


def one_of(word: str, allowed: Iterable[str], what: str) -> str:
    """Return `word` if it is allowed.

    Args:
        word: What was said.
        allowed: What may be said.
        what: What kind of word it is, for the message.

    Returns:
        The word.

    Raises:
        ValueError: Otherwise, with a guess and the allowed words.
    """
    words = sorted(map(str, allowed))
    if word in words:
        return word
    raise ValueError(f"unknown {what} {word!r}{guess(word, words)}; allowed: {', '.join(words)}")


def guess(word: str, known: Iterable[str]) -> str:
    """The nearest known word as " (did you mean 'this'?)", or nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
