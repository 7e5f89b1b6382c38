"""How a set of examples was chosen, in words."""

from __future__ import annotations


def drawn_by(seed: int | None) -> str:
    """What stands behind a number of examples; nothing where they are the first ones of their data set."""
    return "" if seed is None else f" drawn by seed {seed}"
