"""Where a stored row contradicts what it was made of: nothing that names or ranks is taken from a row that follows from
its parameters.

A label is a claim: `pgd` over the parameters of a single step, a radius that another ball was searched in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from advbench import revisions
from advbench.data import Data
from advbench.errors import AdvbenchError
from advbench.goal import GOALS, class_of
from advbench.plugin import Attack, Dataset
from advbench.plugins.compatibility import why_never
from advbench.plugins.origin import Origin
from advbench.plugins.registry import Registry
from advbench.plugins.values import configure
from advbench.problem.precision import LOWER
from advbench.protocol import FIRST, KNOWN, PROTOCOL
from advbench.rates.drawn import drawn_by
from advbench.run.boards import judged_examples
from advbench.run.content import content_of
from advbench.run.keys import board_key, board_says, cell_key, cell_says, dataset_says, short_name, target_says
from advbench.run.stored import UnknownPartError, threat_of
from advbench.run.supplies import supplies
from advbench.store.rows import BallRow, BoardRow, CellRow, DatasetRow, Record, TargetRow
from advbench.target.identity import TargetIdentity, TargetPlan
from advbench.threats import Threat, is_core

STOPS = ("first", "end")
SEEDED = 2
"""The protocol from which on a board names the seed of its cells."""
PARTS = ("calibrate", "train", "judge")
_LATER = ("needs", "beyond_gradients")
"""Columns that came later: NULL in older cells, which readers take for the weakest value."""

Known = tuple[Dataset, Data]
"""A data set that is on this machine, loaded."""


def wrong_cell(row: CellRow, registry: Registry, known: Known | None, drawn: int | None) -> list[str]:
    """What a stored cell says and its parameters don't; an error where its attack or its ball is not known here.

    `known` is its data set; without it, what depends on images is taken as stored. `drawn` is the seed by which its
    examples were drawn, as stored; None where they are the first ones.
    """
    return _examine(row, registry, known, drawn)[0]


def unproved_cell(row: CellRow, registry: Registry, known: Known | None, drawn: int | None) -> list[str]:
    """What a cell of protocol 1 says and nobody can check any more, where nothing contradicts it."""
    return _examine(row, registry, known, drawn)[1]


def _examine(row: CellRow, registry: Registry, known: Known | None, drawn: int | None) -> tuple[list[str], list[str]]:
    """What contradicts a cell, and what can't be checked of one of protocol 1."""
    attack = _configure(registry.attacks, row.attack, row.attack_params, "attack")
    threat = threat_of(row, registry)
    says = cell_says(attack, threat, _shipper(row, threat))
    unproved: list[str] = []
    if row.protocol == FIRST:
        says, unproved = _as_said_first(row, says)
    wrong = list(_unlike(row, says, older=row.content is None))
    wrong += _wrong_ways(row, attack, threat, known)
    filled = row
    if known and not wrong:
        fingerprints, faults = _fingerprints(row, attack, known, drawn)
        wrong += faults
        for name, value in fingerprints.items():
            stored = getattr(row, name)
            if stored is None and row.content is None:  # older than these columns
                filled = replace(filled, **{name: value})
            elif stored != value:
                wrong.append(_difference(name, stored, value))
    if row.content is None:
        filled = replace(filled, content=_content(attack, registry))
    images = known or row.content is not None or not (attack.scope == "set" or attack.uses_bank)
    if not wrong and images and cell_key(filled) != row.key:
        reads = type(attack).content is not Attack.content
        (unproved if row.protocol == FIRST and reads else wrong).append(_wrong_key(row, filled, reads))
    return wrong, unproved


def _as_said_first(row: CellRow, says: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What version 0.1 would have said of its attack, and what of it hangs on defaults and words that it had then.

    Parameters that came later are not in its rows.
    """
    stored, unproved = row.attack_params or {}, []
    derived = {
        **says,
        "attack_params": {name: value for name, value in says["attack_params"].items() if name in stored},
    }
    if says["attack"] != row.attack:
        unproved.append(
            f"name not checkable: it is called {_brief(row.attack)}, and today its parameters are called "
            f"{_brief(says['attack'])}; a default has changed since version 0.1, or the name is wrong"
        )
    if row.needs not in (None, says["needs"]):
        unproved.append(
            f"not checkable what it was told: {_brief(row.needs)}, and today's version tells it {says['needs']}"
        )
    return {**derived, "attack": row.attack, "needs": row.needs}, unproved


def _wrong_ways(row: CellRow, attack: Attack, threat: Threat, known: Known | None) -> Iterator[str]:
    """Settings that no run could have had with this attack."""
    if row.protocol not in KNOWN:
        yield f"judged by protocol {row.protocol}, this advbench knows {FIRST} to {PROTOCOL}"
    if attack.minimizes and not math.isinf(threat.eps):
        yield f"{attack.label} looks for the smallest perturbation, and its ball has the radius {threat.eps:g}"
    if row.seed is None:
        yield "it names no seed"
    if row.stop not in STOPS:
        yield f"its stop is {_brief(row.stop)}; there are {' and '.join(STOPS)}"
    if row.budget is not None and row.budget < 1:
        yield f"its budget is {row.budget}"
    if row.precision not in (None, *LOWER):
        yield f"its precision is {_brief(row.precision)}; beside float32 there is {' and '.join(LOWER)}"
    if (row.fit in PARTS) != (attack.scope == "set") or (row.fit is not None and row.fit not in PARTS):
        yield f"its fit is {_brief(row.fit)}, which {attack.label} has no use for"
    if reason := _wrong_goal(row.goal, known) or why_never(attack, threat, row.goal):
        yield reason


def _wrong_goal(goal: str, known: Known | None) -> str | None:
    if goal in GOALS[:3]:
        return None
    try:
        number = class_of(goal, known[0].classes if known else 10**9)
    except AdvbenchError as error:
        return str(error)
    return None if goal == f"class={number}" else f"unknown goal {goal!r}"


def _fingerprints(row: CellRow, attack: Attack, known: Known, drawn: int | None) -> tuple[dict[str, Any], list[str]]:
    """Fingerprints of the images that a cell was crafted on and with, and what is wrong with those that it names."""
    dataset, data = known
    wrong = list(_unlike(row, {"dataset": dataset.label, "data_fingerprint": data.judge.fingerprint}))
    if wrong_set := wrong_examples(row, known, drawn):
        return {}, [*wrong, wrong_set]
    judged = judged_examples(data, row.count, dataset, drawn)
    # rows that lack one of them although their attack uses it were refused before
    part, seed = row.fit or "calibrate", row.seed or 0
    given = supplies(attack, row.goal, known, judged, part=part, seed=seed)
    return {
        "fit_fingerprint": None if given.fit is None else given.fit.fingerprint,
        "bank_fingerprint": None if given.bank is None else given.bank.fingerprint,
    }, wrong


def wrong_examples(row: BallRow, known: Known, drawn: int | None) -> str:
    """The examples of a cell or a board are the first ones of the data set, or those that a seed draws from it: not
    some that somebody chose."""
    dataset, data = known
    there = 0 < row.count <= len(data.judge)
    due = judged_examples(data, row.count, dataset, drawn) if there else None
    return "" if due and due.fingerprint == row.examples else other_examples(row, drawn)


def other_examples(row: BallRow, drawn: int | None) -> str:
    """That a cell or a board has other examples than it should, in words."""
    due = f"the first {row.count} of {row.dataset}" if drawn is None else f"{row.count} of {row.dataset}"
    return f"its examples are not {due}{drawn_by(drawn)}"


def _wrong_key(row: CellRow, filled: CellRow, reads: bool) -> str:
    areas = (*revisions.CELL, row.threat)
    for numbers in revisions.earlier(areas):
        if cell_key(filled, numbers) == row.key:
            older = ", ".join(area for area in areas if numbers.get(area, 1) != revisions.REVISIONS.get(area, 1))
            return f"it was crafted by an earlier revision of {older}; run it again with this version"
    if row.content is None and (reads or row.protocol != FIRST):
        return (
            "its key is not checkable: it is older than the columns that say what its attack read, and what is here "
            "gives another key; run it again with this version"
        )
    return "its key is not that of what it says"


def _content(attack: Attack, registry: Registry) -> str:
    """What the attack says of the files that it reads; empty where they are not here."""
    try:
        return content_of(registry.settle(attack), registry)
    except Exception:  # a file that is elsewhere
        return ""


def wrong_target(row: TargetRow, plan: TargetPlan, calibrate: str | None, protocol: int = PROTOCOL) -> list[str]:
    """What a stored target says of itself and its parts don't; its network is not asked for.

    `calibrate` is the fingerprint of the held-out images; without it the key is taken as stored. `protocol` is that of
    the target's cells. The oldest targets of protocol 1 answer by chance and were asked once.
    """
    wrong = list(_unlike(row, target_says(plan)))
    detects = any(defense.detects for defense in plan.defenses)
    if detects != (row.threshold is not None) or detects != (row.false_positive_rate is not None):
        wrong.append(f"it {'has' if detects else 'has no'} detector, and a threshold is stored as if it were otherwise")
    once = protocol == FIRST and row.draws == 1
    if bool(row.randomised) != (row.draws > 1) and not once:
        wrong.append(f"its randomised is {row.randomised}, and it was judged by {row.draws} draws")
    if not wrong and calibrate is not None:
        identity = TargetIdentity(
            plan,
            row.origins or {},
            row.weights_sha256,
            judge=row.data_fingerprint,
            calibrate=calibrate,
            false_positive_rate=row.false_positive_rate,
            draws=row.draws,
            protocol=protocol,
        )
        if identity.key != row.key:
            wrong.append("its key is not that of what it says")
    return wrong


def wrong_dataset(row: DatasetRow, known: Known) -> list[str]:
    return list(_unlike(row, dataset_says(*known)))


def wrong_board(row: BoardRow, registry: Registry, known: Known | None, drawn: int | None) -> list[str]:
    """What a stored board says and its parameters don't; its examples only where its data set is here."""
    threat = threat_of(row, registry)
    wrong = list(_unlike(row, board_says(row.dataset, row.seed, threat, _shipper(row, threat))))
    if row.seed is None and row.protocol >= SEEDED:
        wrong.append("it names no seed, so that the luckiest of many would count")
    required = row.required
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        wrong.append("the attacks that it requires are not a list of names")
    elif row.protocol not in KNOWN:
        wrong.append(f"it is judged by protocol {row.protocol}, this advbench knows {FIRST} to {PROTOCOL}")
    elif row.protocol > FIRST and required != sorted(set(required)):
        wrong.append("the attacks that it requires are not in order, or some stand there twice")
    if known:
        wrong += _unlike(row, {"dataset": known[0].label, "data_fingerprint": known[1].judge.fingerprint})
        wrong += filter(None, [wrong_examples(row, known, drawn)])
    if not wrong and board_key(row) != row.key:
        wrong.append("its key is not that of what it says")
    return wrong


def _unlike(row: Record, derived: Mapping[str, Any], *, older: bool = False) -> Iterator[str]:
    for name, value in derived.items():
        stored = getattr(row, name)
        if older and name in _LATER and stored is None:
            continue
        if stored != value or isinstance(stored, bool) != isinstance(value, bool):
            yield _difference(name, stored, value)


def _difference(name: str, stored: Any, derived: Any) -> str:
    return f"{name} is stored as {_brief(stored)}, and what it was made with says {_brief(derived)}"


def _brief(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _configure(entrants: Mapping[str, Attack], label: str, params: Mapping[str, Any] | None, kind: str) -> Attack:
    """The entrant of that name with every stored parameter, whatever else its label says."""
    name = short_name(label)
    entry = entrants.get(label) or next((one for one in entrants.values() if one.name == name), None)
    if entry is None:
        raise UnknownPartError(f"no {kind} {_brief(name)} is installed here")
    return configure(entry, params or {}, f"the {kind} {name}")


def _shipper(row: BallRow, threat: Threat) -> dict[str, str] | None:
    """Who shipped the ball, as stored: another version may be here. The core's six are the protocol's own."""
    if is_core(threat):
        return None
    stored = row.ball or {}
    return {field.name: str(stored.get(field.name) or "") for field in fields(Origin)}
