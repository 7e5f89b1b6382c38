"""Heat maps are tables: a number a cell, on one of ten shades that all leave its text readable."""

from __future__ import annotations

SHADES = 10


def shade(share: float, low: float = 0.0, high: float = 1.0) -> str:
    """The class `h0` to `h9` of a number between `low` and `high`; one hue, so that only brightness tells."""
    part = (share - low) / ((high - low) or 1.0)
    return f"h{min(SHADES - 1, max(0, int(part * SHADES + 1e-9)))}"
