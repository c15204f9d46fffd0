"""Fits: the word of a card, and the function that makes the estimate from a cube."""

FITS: dict[str, str] = {}
