"""Text from plugins made fit to show, and names made fit for files and links."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    """One line without terminal escapes, control characters and marks that turn the writing direction."""
    return " ".join(_CONTROLS.sub(" ", _ESCAPES.sub("", text)).split())


def slug(name: str, key: str) -> str:
    """A file name that looks like the name; the key's hash keeps `linf/0.3` and `linf 0.3` apart."""
    plain = unicodedata.normalize("NFKD", shown(name)).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")[:80]
    return f"{words or 'board'}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"
