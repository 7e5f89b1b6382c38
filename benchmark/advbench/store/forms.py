"""Forms of single values in a row, each of which says in words what a value should be and isn't."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

Form = Callable[[Any], str]
"""What a value should be, in words, where it isn't; empty where it is."""

LONGEST_NAME = 2_000
LONGEST_TEXT = 20_000
LONGEST_LIST = 500_000
"""Characters of all names of a list: ten attacks at each of a thousand classes, with room."""
LARGEST_COUNT = 10**9
MOST_PIXELS = 1 << 26
"""Pixels of an image, over all channels."""
DEEPEST = 8
_SCALARS = (str, int, float, bool, type(None))


def maybe(form: Form) -> Form:
    return lambda value: "" if value is None else form(value)


def text(most: int, least: int = 0) -> Form:
    def form(value: Any) -> str:
        fits = isinstance(value, str) and least <= len(value) <= most
        return "" if fits else f"text of {least} to {most} characters"

    return form


def whole(least: int, most: int) -> Form:
    def form(value: Any) -> str:
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if fits else f"a whole number from {least} to {most}"

    return form


def number(least: float = -math.inf, most: float = math.inf, *, finite: bool = False) -> Form:
    def form(value: Any) -> str:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if real and least <= value <= most and (not finite or math.isfinite(value)):
            return ""
        return f"a {'finite ' if finite else ''}number from {least:g} to {most:g}"

    return form


def matching(pattern: str, words: str) -> Form:
    form = re.compile(pattern)
    return lambda value: "" if isinstance(value, str) and form.fullmatch(value) else words


def moment(value: Any) -> str:
    try:
        if isinstance(value, str) and len(value) <= 40 and datetime.fromisoformat(value).tzinfo:
            return ""
    except ValueError:
        pass
    return "a time such as 2026-11-30T12:00:00+00:00"


def picture(value: Any) -> str:
    return "" if isinstance(value, bytes) and value else "a picture"


def shape(value: Any) -> str:
    sides = value if isinstance(value, list) else []
    fits = len(sides) == 3 and not any(map(whole(1, 1 << 16), sides))
    return "" if fits and math.prod(sides) <= MOST_PIXELS else "three whole numbers from 1 on: channels, height, width"


def classes(value: Any) -> str:
    fits = isinstance(value, list) and 2 <= len(value) <= 100_000 and not any(map(text(200), value))
    return "" if fits else "a list of at least two names of classes"


def names(value: Any) -> str:
    fits = isinstance(value, list) and len(value) <= 10_000 and not any(map(NAME, value))
    fits = fits and sum(map(len, value)) <= LONGEST_LIST
    return "" if fits and len(set(value)) == len(value) else "a list of names, each once, and not too many"


def flat(value: Any) -> str:
    """Parameters: names, each with a scalar or a list of them."""
    fits = isinstance(value, dict) and all(
        isinstance(name, str) and len(name) <= 200 and all(map(_scalar, inner if isinstance(inner, list) else [inner]))
        for name, inner in value.items()
    )
    return "" if fits else "a mapping from names to numbers, words or lists of them"


def origin(value: Any) -> str:
    fits = isinstance(value, dict) and all(isinstance(inner, str | None) for inner in value.values())
    return "" if fits else "a mapping from names to words"


def document(value: Any) -> str:
    """The form of a JSON document of plain values: settings, versions, hardware."""
    return nested(DEEPEST)(value)


def nested(deepest: int) -> Form:
    """A JSON document that may go so deep."""

    def form(value: Any) -> str:
        fits = isinstance(value, dict) and _is_document(value, deepest)
        return "" if fits else f"a mapping of plain values, at most {deepest} deep"

    return form


def parts(of: Form) -> Form:
    """What is said of a target's model, of each of its defenses, and perhaps of its data set."""

    def form(value: Any) -> str:
        fits = (
            isinstance(value, dict)
            and {"model", "defenses"} <= value.keys() <= {"model", "defenses", "dataset"}
            and isinstance(value["defenses"], list)
            and not any(map(of, [value["model"], *value["defenses"], value.get("dataset", {})]))
        )
        return "" if fits else f"for model and defenses {of(None)}"

    return form


def _scalar(value: Any) -> bool:
    return isinstance(value, _SCALARS) and not (isinstance(value, float) and not math.isfinite(value))


def _is_document(value: Any, deepest: int) -> bool:
    if isinstance(value, list | dict):
        inner = list(value.values()) if isinstance(value, dict) else value
        return deepest > 0 and all(_is_document(one, deepest - 1) for one in inner)
    return _scalar(value)


NAME = text(LONGEST_NAME, 1)
WORDS = text(LONGEST_TEXT)
DIGEST = matching(r"[0-9a-f]{64}", "64 hexadecimal digits")
FINGERPRINT = DIGEST
ANY = maybe(text(LONGEST_NAME))
COUNT = whole(0, LARGEST_COUNT)
SOME = whole(1, LARGEST_COUNT)
CLASS = whole(0, 10**6)
ANSWER = whole(-1, 10**6)
"""-1 is no answer."""
YES_OR_NO = whole(0, 1)
SEED = whole(-(2**63), 2**63 - 1)
SIZE = number(0)
COST = number(0, 1e12, finite=True)
SHARE = number(0, 1.001)
"""A softmax may round a little above 1."""
GOAL = matching(r"untargeted|random|least-likely|class=\d{1,6}", "a goal such as untargeted or class=3")


def reference(value: Any) -> str:
    """A row of another table: a number in the file, a key once it is read for another database."""
    return "" if not whole(0, 2**63 - 1)(value) or not text(LONGEST_NAME, 1)(value) else "a row's number"
