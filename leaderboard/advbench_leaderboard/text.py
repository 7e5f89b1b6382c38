"""Text from plugins made fit to show, and names made fit for files and links."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from functools import lru_cache

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")


@lru_cache(maxsize=16_384)  # the same names, keys and words stand on thousands of pages
def shown(text: str) -> str:
    """One line without terminal escapes, control characters and marks that turn the writing direction."""
    return " ".join(_CONTROLS.sub(" ", _ESCAPES.sub("", text)).split())


@lru_cache(maxsize=65_536)
def slug(name: str, key: str) -> str:
    """A file name that looks like the name; the key's hash keeps `linf/0.3` and `linf 0.3` apart."""
    letters = unicodedata.normalize("NFKD", shown(name)).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9.]+", "-", letters).strip("-.")[:80]
    return f"{words or 'board'}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def in_order(text: str) -> tuple[tuple[float, str], ...]:
    """What to sort by so that 5° comes before 10° and 0.25 before 0.3."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((float(part), "") if place % 2 else (-1.0, part) for place, part in enumerate(parts))


def count_of(number: int, noun: str) -> str:
    """A number with its noun: `1 cell`, `1,250 cells`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def tail(place: str) -> str:
    """The end of a path: whose folder it lay in is no business of the pages' readers."""
    parts = re.split(r"[/\\\\]", shown(place))
    return place if len(parts) <= 3 else "/".join(["…", *parts[-2:]])


def points(difference: float) -> str:
    """A difference of shares in percentage points, with a minus that is one."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text[1:] == "0.0" else text.replace("-", "−")


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def moment(stamp: str | None) -> str:
    """A time stamp as `2026-11-21 11:56 UTC`; what is none stays as it is."""
    if not stamp:
        return "–"
    parts = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)[\d:.]*\+00:00", stamp)
    return f"{parts[1]} {parts[2]} UTC" if parts else stamp


def measured(value: float, unit: str = "") -> str:
    """A finding: shares to a tenth of a percent, whole numbers as they are, the rest with three figures."""
    if unit == "percent" and (value == 0 or abs(value) >= 0.05):
        return f"{value:.1f}".replace("-", "−")
    if not math.isfinite(value):
        return "–"
    if value == int(value) or abs(value) >= 1000:
        text = f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
    elif abs(value) < 1e-3:
        text = f"{value:.1e}"
    else:
        text = f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def printed(value: float) -> str:
    """A number as a paper prints it, with all of its figures."""
    return f"{value:.12g}".replace("-", "−")


def signed(value: float, unit: str = "") -> str:
    """A difference with its sign."""
    text = measured(value, unit)
    return text if text.startswith("−") or not any(digit in text for digit in "123456789") else f"+{text}"
