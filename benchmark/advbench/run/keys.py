"""Keys of cells, targets and boards, and the columns that follow from what they are made of: written by `run`, derived
again by whoever doubts a stored row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from advbench import revisions
from advbench.data import Data
from advbench.plugin import Attack, Dataset
from advbench.plugins.compatibility import knowledge, offered
from advbench.plugins.origin import identity
from advbench.protocol import SECOND
from advbench.store.rows import BoardRow, CellRow, by_column
from advbench.target.identity import TargetPlan, chain_label, content_key
from advbench.threats import Threat


def family_of(threat: Threat, shipper: Mapping[str, str] | None) -> str:
    """Cells of one family are judged at each other's radii: never those of two versions of a stranger's ball.

    `shipper` is who is believed about sizes; None for the core's own.
    """
    if shipper is None:
        return threat.family
    return f"{threat.family} by {shipper['distribution'] or 'nobody'} {shipper['version']} #{shipper['digest'][:8]}"


def cell_says(attack: Attack, threat: Threat, shipper: Mapping[str, str] | None) -> dict[str, Any]:
    """The columns of a cell that follow from its attack and its ball."""
    return {
        "threat": threat.name,
        "family": family_of(threat, shipper),
        "ball": shipper,
        "params": threat.params(),
        "eps": None if math.isinf(threat.eps) else threat.eps,
        "minimizes": int(attack.minimizes),
        "attack": attack.label,
        "attack_params": attack.params(),
        "needs": knowledge(attack),
        "beyond_gradients": int(attack.beyond_gradients),
    }


def cell_key(row: CellRow, numbers: Mapping[str, int] | None = None) -> str:
    """A hash of everything that can change the cell's outcome; the target's key stands for data and weights.

    `numbers` are revisions of the core other than those here.
    """
    beside: dict[str, Any] = {"content": row.content, "fit": row.fit_fingerprint, "bank": row.bank_fingerprint}
    beside |= {"ball": row.ball and identity(row.ball), "precision": row.precision}
    return content_key(
        {
            "source": row.source,
            "examples": row.examples,
            "threat": [row.threat, row.params],
            "attack": [short_name(row.attack), row.attack_params],
            **{name: value for name, value in beside.items() if value},
            **_made_with(row, numbers),
            "goal": row.goal,
            "stop": row.stop,
            "seed": row.seed,
            "budget": row.budget,
            "protocol": row.protocol,
        }
    )


def _made_with(row: CellRow, numbers: Mapping[str, int] | None) -> dict[str, Any]:
    """What a cell's key takes in of the sources of its attack and of the core."""
    if row.protocol <= SECOND:
        return {"origin": row.origin}
    return {"origin": identity(row.origin), **revisions.in_key((*revisions.CELL, row.threat), numbers)}


def target_says(plan: TargetPlan) -> dict[str, Any]:
    """The columns of a target that follow from who it is made of."""
    return {
        "label": plan.label,
        "model": plan.model.label,
        "defenses": chain_label(plan.defenses),
        "dataset": plan.dataset.label,
        "params": {"model": plan.model.params(), "defenses": [defense.params() for defense in plan.defenses]},
        "access": offered(plan.model, plan.defenses).words,
    }


def dataset_says(dataset: Dataset, data: Data) -> dict[str, Any]:
    """A data set as it is stored, but for where it was read from."""
    return {
        "fingerprint": data.judge.fingerprint,
        "label": dataset.label,
        "classes": list(dataset.class_names),
        "shape": list(dataset.shape),
        "count": len(data.judge),
        "publishable": int(dataset.publishable),
    }


def board_key(row: BoardRow) -> str:
    """Of a board's columns; an older one takes cells of any seed, and balls of the core name nobody."""
    silent = {"key", *(name for name in ("seed", "ball") if getattr(row, name) is None)}
    said = {name: value for name, value in by_column(row).items() if name not in silent}
    return content_key(said if row.ball is None else {**said, "ball": identity(row.ball)})


def board_says(dataset: str, seed: int | None, threat: Threat, shipper: Mapping[str, str] | None) -> dict[str, Any]:
    """The columns of a board that follow from its ball, its data set and its seed."""
    return {
        "name": f"{dataset}/{threat.name}/{threat.radius}{f'/seed={seed}' if seed else ''}",
        "threat": threat.name,
        "family": family_of(threat, shipper),
        "ball": shipper,
        "params": threat.params(),
        "eps": threat.eps,
    }


def short_name(label: str) -> str:
    return label.partition("(")[0]
