"""What form every column of the tables of studies has; see `records`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advbench.store.forms import (
    COST,
    COUNT,
    DIGEST,
    NAME,
    SEED,
    WORDS,
    Form,
    document,
    flat,
    matching,
    maybe,
    moment,
    nested,
    number,
    origin,
    picture,
    reference,
    text,
    whole,
)

REAL = number(finite=True)
LARGEST_PICTURE = 1 << 13
SIDE = whole(1, LARGEST_PICTURE)
PAGE = nested(12)
"""Sections, what they show, published curves, their points."""
VERDICT = matching("holds|fails|undecided", "holds, fails or undecided")


def pairs(value: Any) -> str:
    """What a published number's row says beside its value."""
    fits = isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and not isinstance(one[1], list | dict)
        for one in value
    )
    return "" if fits else "a list of names with their values"


STUDY_FORMS: Mapping[str, Mapping[str, Form]] = {
    "analyses": {
        "id": reference,
        "key": DIGEST,
        "name": NAME,
        "label": NAME,
        "params": flat,
        "origin": origin,
        "reads": document,
        "seed": SEED,
        "at": moment,
        "seconds": COST,
        "versions": maybe(document),
        "hardware": maybe(document),
    },
    "findings": {
        "analysis": reference,
        "position": COUNT,
        "name": NAME,
        "value": maybe(REAL),
        "low": maybe(REAL),
        "high": maybe(REAL),
        "n": maybe(COUNT),
        "unit": WORDS,
    },
    "points": {
        "analysis": reference,
        "series": COUNT,
        "position": COUNT,
        "name": NAME,
        "x": REAL,
        "y": REAL,
        "low": maybe(REAL),
        "high": maybe(REAL),
    },
    "pictures": {
        "analysis": reference,
        "position": COUNT,
        "name": NAME,
        "caption": WORDS,
        "channels": whole(1, 3),
        "height": SIDE,
        "width": SIDE,
        "pixels": picture,
    },
    "studies": {
        "id": reference,
        "key": DIGEST,
        "name": NAME,
        "level": matching("smoke|hour|paper", "smoke, hour or paper"),
        "at": moment,
        "paper": document,
        "page": PAGE,
        "origin": origin,
        "seed": SEED,
        "command": maybe(WORDS),
    },
    "study_analyses": {
        "study": reference,
        "position": COUNT,
        "label": NAME,
        "analysis": maybe(reference),
        "reason": maybe(WORDS),
    },
    "published": {
        "study": reference,
        "place": NAME,
        "position": COUNT,
        "columns": pairs,
        "value": maybe(REAL),
        "words": maybe(WORDS),
        "decimals": whole(-40, 40),
        "unit": text(200),
        "label": maybe(NAME),
        "finding": maybe(NAME),
        "absent": maybe(WORDS),
    },
    "claims": {
        "study": reference,
        "position": COUNT,
        "id": NAME,
        "claim": WORDS,
        "evidence": WORDS,
        "test": WORDS,
        "agrees": WORDS,
        "verdict": VERDICT,
        "words": WORDS,
        "strongest": maybe(VERDICT),
        "strongest_words": WORDS,
    },
}
