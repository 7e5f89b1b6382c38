"""A database of two targets with pictures, classes, targeted cells, cheats, transfer, and a study; tests share it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import study_facts

from advbench.protocol import PROTOCOL
from advbench.store import Store

N = 24
CLASSES = 3
SHAPE = (1, 2, 3)
ORIGINAL, PERTURBED, REDRAWN = bytes([0, 10, 20, 30, 40, 250]), bytes([0, 12, 19, 30, 40, 250]), bytes(range(6))


def example(e: int, attack: str, source: str, target: str) -> dict[str, Any]:
    """Every third example is fooled, and moves to the next class; elsewhere every sixth; a cheat breaks the rules."""
    hit = e % (3 if source == target else 6) == 0
    violation = "left the ball" if attack.startswith("cheat") else None
    return {
        "example": e,
        "goal_label": e % CLASSES,
        "reached": hit,
        "predicted": (e + hit) % CLASSES,
        "confidence": 0.75,
        "suspicion": e / N if target == "a" else None,
        "size": 0.2,
        "violation": None if violation is None else violation + attack.removeprefix("cheat"),
        "excess": 0.5 if violation else None,
        "tolerance": 1e-6 if violation else None,
    }


def fill(path: Path, evil: str = "") -> None:
    """Two targets, of which the first detects, under two attacks on two boards, and a targeted one."""
    common = {"data_fingerprint": "data", "examples": "set", "count": N, "dataset": "shapes"}
    with Store.open(path) as store, store.transaction():
        store.begin_run({"id": "run", "seed": 0, "protocol": PROTOCOL})
        store.add_dataset(
            {"fingerprint": "data", "label": f"shapes{evil}", "classes": [f"{name}{evil}" for name in "xyz"]}
            | {"shape": list(SHAPE), "count": N}
        )
        store.add_examples("set", range(N))
        store.add_plugins(
            "run",
            [
                {"kind": "attack", "label": f"cheat{evil}", "distribution": "acme", "version": "1"}
                | {"summary": f"Cheats{evil}", "reference": f"javascript:alert(1){evil}"}
            ],
        )
        for key in ("a", "b"):
            store.add_target(
                {"key": key, "label": f"target-{key}{evil}", "model": f"net{evil}", "defenses": f"trained{evil}"}
                | {"dataset": "shapes", "data_fingerprint": "data", "threshold": 0.5 if key == "a" else None}
                | {
                    "false_positive_rate": 0.05,
                    "weights_sha256": ("f" if key == "a" else "e") * 64,
                    "recipe": {f"epochs{evil}": f"3{evil}"},
                }
                | {"params": {"defenses": [{"threat": f"linf(eps=0.3){evil}"}], f"m{evil}": [f"deep{evil}"]}}
            )
            store.add_clean(
                key,
                [
                    {"example": e, "label": e % CLASSES, "predicted": (e + (e == 1)) % CLASSES, "confidence": 1.0}
                    | {"suspicion": e / (2 * N) if key == "a" else None}
                    for e in range(N)
                ],
            )
        for family, eps in (("linf", 0.3), ("l2", 2.0)):
            store.add_board(
                {**common, "key": f"board-{family}", "name": f"shapes/{family}/{eps:g}{evil}", "family": family}
                | {"threat": f"{family}(eps={eps:g})", "eps": eps, "required": ["steps"], "protocol": PROTOCOL}
            )
            for source in ("a", "b"):
                for attack, goal in (("steps", "untargeted"), (f"cheat{evil}", "untargeted"), ("steps", "class=2")):
                    cell = f"{family}-{source}-{attack.partition(evil)[0] if evil else attack}-{goal}"
                    store.add_cell(
                        {**common, "key": cell, "threat": family, "family": family, "eps": eps, "attack": attack}
                        | {"goal": goal, "stop": "first", "source": source, "protocol": PROTOCOL, "needs": "gradients"}
                        | {"attack_params": {f"n{evil}": f"1{evil}"}, "params": {f"k{evil}": f"2{evil}"}}
                    )
                    targeted = {"goal_label": 2} if goal != "untargeted" else {}
                    rows = {t: [{**example(e, attack, source, t), **targeted} for e in range(N)] for t in ("a", "b")}
                    moved = struct.pack("<12e", *[0.0] * 5, 0.25, 0.0, -0.5, *[0.0] * 4)
                    pictures = [
                        {"example": e, "original": zlib.compress(ORIGINAL), "perturbed": zlib.compress(PERTURBED)}
                        | {"redrawn": zlib.compress(REDRAWN) if source == "a" else None}
                        | {"moved": zlib.compress(moved) if family == "l2" else None, "words": f"turned by 3°{evil}"}
                        for e in range(2)
                    ]
                    shard = {"shard": 0, "first": 0, "count": N, "run": "run", "forwards": 10 * N, "backwards": 5 * N}
                    store.add_shard(cell, shard, {source: rows.pop(source)}, exhibits=pictures)
                    for other, outcomes in rows.items():
                        store.add_judgement(cell, 0, other, outcomes)
                    store.add_event(cell, "run", "done")
        study_facts.fill(store, evil)
