"""What form every column has: held against a stranger's rows before they join, and named when rows can't be read.

SQLite keeps text from being a number, and no more: a shape of "abc", a count of -1 or a radius that is no number would
join, and every page that reads them would fail from then on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Form = Callable[[Any], str]
"""What a value should be, in words, where it isn't; empty where it is."""


class UnreadableError(ValueError):
    """What a JSON column holds is none, or of another kind."""


JSON_COLUMNS = frozenset(
    [
        "settings",
        "versions",
        "hardware",
        "classes",
        "shape",
        "params",
        "origins",
        "recipe",
        "attack_params",
        "origin",
        "ball",
        "required",
        "facts",
    ]
)
LISTS = frozenset({"classes", "shape", "required"})
"""Of them, those that hold a list; the others hold a mapping."""

LONGEST_NAME = 2_000
LONGEST_TEXT = 20_000
LARGEST_COUNT = 10**9
MOST_PIXELS = 1 << 26
"""Of an image, over all channels."""
DEEPEST = 8
_SCALARS = (str, int, float, bool, type(None))


def wrong(table: str, row: Mapping[str, Any]) -> str:
    """The first column of a row that has not its form, and what it should be; empty where all have."""
    forms = FORMS[table]
    for name, value in row.items():
        form = forms.get(name)
        problem = form(value) if form else "no column of this table"
        if problem:
            return f"{table}.{name} must be {problem}, not {_brief(value)}"
    return ""


def parsed(name: str, value: Any) -> Any:
    """A column's value; of a JSON column what was put in."""
    if name not in JSON_COLUMNS or not isinstance(value, str):
        return value
    try:
        found = _parsed(name, value)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the column {name} should hold JSON and holds {_brief(value)}") from error
    if not isinstance(found, list if name in LISTS else dict):
        kind = "a list" if name in LISTS else "a mapping"
        raise UnreadableError(f"the column {name} should hold {kind} and holds {_brief(found)}")
    return found


def _parsed(name: str, value: Any) -> Any:
    if name not in JSON_COLUMNS or not isinstance(value, str):
        return value
    return json.loads(value, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _brief(value: Any) -> str:
    text = f"{len(value)} bytes" if isinstance(value, bytes) else " ".join(str(value).split())
    return repr(text if len(text) <= 40 else f"{text[:40]}…") if isinstance(value, str) else text[:60]


# --- forms of one value


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
    return "" if fits and len(set(value)) == len(value) else "a list of names, each once"


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
    """What a suite or a machine says of itself."""
    return "" if isinstance(value, dict) and _plain(value) else f"a mapping of plain values, at most {DEEPEST} deep"


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


def _plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list | dict):
        inner = list(value.values()) if isinstance(value, dict) else value
        return depth < DEEPEST and all(_plain(one, depth + 1) for one in inner)
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


FORMS: Mapping[str, Mapping[str, Form]] = {
    "runs": {
        "id": NAME,
        "started": moment,
        "suite": ANY,
        "settings": maybe(document),
        "seed": maybe(SEED),
        "protocol": maybe(COUNT),
        "versions": maybe(document),
        "hardware": maybe(document),
        "command": maybe(WORDS),
    },
    "run_ends": {"run": NAME, "at": moment, "how": WORDS},
    "plugins": {
        "run": NAME,
        "kind": NAME,
        "label": NAME,
        "distribution": ANY,
        "version": ANY,
        "digest": ANY,
        "error": maybe(WORDS),
        "summary": maybe(WORDS),
        "reference": maybe(WORDS),
    },
    "skips": {
        "run": NAME,
        "dataset": NAME,
        "model": NAME,
        "defenses": text(LONGEST_NAME),
        "attack": text(LONGEST_NAME),
        "threat": text(LONGEST_NAME),
        "goal": text(LONGEST_NAME),
        "reason": WORDS,
    },
    "datasets": {
        "fingerprint": FINGERPRINT,
        "label": NAME,
        "classes": classes,
        "shape": shape,
        "source": maybe(WORDS),
        "partial": maybe(WORDS),
        "train_fingerprint": maybe(FINGERPRINT),
        "calibrate_fingerprint": maybe(FINGERPRINT),
        "count": COUNT,
    },
    "example_sets": {"fingerprint": FINGERPRINT, "position": COUNT, "example": whole(-(2**63), 2**63 - 1)},
    "targets": {
        "id": reference,
        "key": DIGEST,
        "label": NAME,
        "model": NAME,
        "defenses": text(LONGEST_NAME),
        "dataset": NAME,
        "data_fingerprint": FINGERPRINT,
        "params": parts(flat),
        "origins": maybe(parts(origin)),
        "weights_sha256": DIGEST,
        "recipe": maybe(document),
        "access": ANY,
        "threshold": maybe(number()),
        "false_positive_rate": maybe(number(0, 1)),
        "randomised": YES_OR_NO,
        "draws": whole(1, 10_000),
    },
    "clean": {
        "target": reference,
        "example": SEED,
        "label": CLASS,
        "predicted": ANSWER,
        "confidence": maybe(SHARE),
        "suspicion": maybe(number()),
    },
    "certificates": {"target": reference, "example": SEED, "family": NAME, "predicted": ANSWER, "radius": SIZE},
    "boards": {
        "key": DIGEST,
        "name": NAME,
        "dataset": NAME,
        "data_fingerprint": FINGERPRINT,
        "threat": NAME,
        "family": NAME,
        "params": flat,
        "eps": SIZE,
        "examples": FINGERPRINT,
        "count": SOME,
        "required": names,
        "protocol": COUNT,
        "seed": maybe(SEED),
        "ball": maybe(origin),
    },
    "cells": {
        "id": reference,
        "key": DIGEST,
        "dataset": NAME,
        "data_fingerprint": FINGERPRINT,
        "examples": FINGERPRINT,
        "count": SOME,
        "threat": NAME,
        "family": NAME,
        "params": flat,
        "eps": maybe(SIZE),
        "minimizes": YES_OR_NO,
        "attack": NAME,
        "attack_params": maybe(flat),
        "origin": maybe(origin),
        "goal": GOAL,
        "stop": maybe(matching("first|end", "first or end")),
        "source": DIGEST,
        "seed": maybe(SEED),
        "protocol": COUNT,
        "budget": maybe(SOME),
        "fit": ANY,
        "needs": ANY,
        "beyond_gradients": maybe(YES_OR_NO),
        "content": ANY,
        "fit_fingerprint": maybe(FINGERPRINT),
        "bank_fingerprint": maybe(FINGERPRINT),
        "ball": maybe(origin),
    },
    "cell_events": {
        "id": reference,
        "cell": reference,
        "run": maybe(NAME),
        "at": moment,
        "status": matching("done|failed", "done or failed"),
        "reason": maybe(WORDS),
        "seconds": maybe(COST),
    },
    "shards": {
        "cell": reference,
        "shard": COUNT,
        "first": COUNT,
        "count": COUNT,
        "run": maybe(NAME),
        "batch": maybe(SOME),
        "seconds": maybe(COST),
        "forwards": maybe(whole(0, 10**15)),
        "backwards": maybe(whole(0, 10**15)),
        "artifact": maybe(DIGEST),
    },
    "judgements": {"cell": reference, "target": reference, "shard": COUNT},
    "outcomes": {
        "cell": reference,
        "target": reference,
        "example": SEED,
        "goal_label": maybe(CLASS),
        "reached": YES_OR_NO,
        "predicted": ANSWER,
        "confidence": maybe(SHARE),
        "suspicion": maybe(number()),
        "size": maybe(SIZE),
        "violation": maybe(text(200, 1)),
        "excess": maybe(number()),
        "tolerance": maybe(SIZE),
    },
    "artifacts": {"sha256": DIGEST, "bytes": COUNT, "kind": ANY},
    "notes": {"target": reference, "kind": NAME, "reason": WORDS, "run": maybe(NAME)},
    "exhibits": {
        "cell": reference,
        "example": SEED,
        "original": picture,
        "perturbed": picture,
        "redrawn": maybe(picture),
        "moved": maybe(picture),
        "words": maybe(text(LONGEST_NAME)),
    },
    "verifications": {
        "id": reference,
        "cell": reference,
        "at": moment,
        "sound": YES_OR_NO,
        "facts": document,
        "reason": maybe(WORDS),
        "versions": maybe(document),
        "hardware": maybe(document),
    },
    "imports": {"id": reference, "cell": reference, "at": moment, "source": WORDS, "refereed": YES_OR_NO},
}
"""By table and column, in the order in which rows need each other."""
