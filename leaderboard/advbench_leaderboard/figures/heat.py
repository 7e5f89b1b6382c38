"""Tables of numbers: ten shades that all leave the text readable, and the paper that so many columns need."""

from __future__ import annotations

SHADES = 10
SHEETS = {"": 10, "a3": 15, "a2": 23, "a1": 33}
"""How many columns of numbers fit beside a name and a bar, on paper laid across."""


def shade(share: float, low: float = 0.0, high: float = 1.0) -> str:
    """The class `h0` to `h9` of a number between `low` and `high`; one hue, so that only brightness tells."""
    part = (share - low) / ((high - low) or 1.0)
    return f"h{min(SHADES - 1, max(0, int(part * SHADES + 1e-9)))}"


def sheet(columns: int) -> str:
    """The class of a table that is printed on larger paper; none for the usual."""
    return next((name for name, most in SHEETS.items() if columns <= most), "a0")
