"""What form every column has: held against a stranger's rows before they join, and named when rows can't be read.

SQLite keeps text from being a number, and no more: a shape of "abc", a count of -1 or a radius that is no number would
join, and every page that reads them would fail from then on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from advbench.store.forms import (
    ANSWER,
    ANY,
    CLASS,
    COST,
    COUNT,
    DIGEST,
    FINGERPRINT,
    GOAL,
    LONGEST_NAME,
    NAME,
    SEED,
    SHARE,
    SIZE,
    SOME,
    WORDS,
    YES_OR_NO,
    Form,
    classes,
    document,
    flat,
    matching,
    maybe,
    moment,
    names,
    number,
    origin,
    parts,
    picture,
    reference,
    shape,
    text,
    whole,
)
from advbench.store.parts import MOST
from advbench.store.study_forms import STUDY_FORMS


class UnreadableError(ValueError):
    """What a JSON column holds is none, or of another kind."""


JSON_COLUMNS = frozenset(
    [
        "reads",
        "paper",
        "page",
        "columns",
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
LISTS = frozenset({"classes", "shape", "required", "columns"})
"""The JSON columns that hold a list; the others hold a mapping."""


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
        content = _parse(name, value)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the column {name} should hold JSON and holds {_brief(value)}") from error
    if not isinstance(content, list if name in LISTS else dict):
        kind = "a list" if name in LISTS else "a mapping"
        raise UnreadableError(f"the column {name} should hold {kind} and holds {_brief(content)}")
    return content


def _parse(name: str, value: Any) -> Any:
    if name not in JSON_COLUMNS or not isinstance(value, str):
        return value
    return json.loads(value, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _brief(value: Any) -> str:
    text = f"{len(value)} bytes" if isinstance(value, bytes) else " ".join(str(value).split())
    return repr(text if len(text) <= 40 else f"{text[:40]}…") if isinstance(value, str) else text[:60]


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
    "parts": {"run": NAME, "part": whole(1, MOST), "parts": whole(1, MOST), "whole": DIGEST},
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
        "publishable": YES_OR_NO,
    },
    "example_sets": {"fingerprint": FINGERPRINT, "position": COUNT, "example": whole(-(2**63), 2**63 - 1)},
    "example_draws": {"fingerprint": FINGERPRINT, "seed": whole(0, 2**63 - 1)},
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
        "precision": ANY,
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
    "imports": {
        "id": reference,
        "cell": reference,
        "at": moment,
        "source": WORDS,
        "refereed": YES_OR_NO,
        "crafted": maybe(YES_OR_NO),
        "crafting": maybe(WORDS),
    },
    **STUDY_FORMS,
}
"""The forms of values by table and column, tables in the order in which rows need each other."""
