"""What every built-in attack finds on a small network, in every ball, toward both kinds of goal.

`python tests/battery.py` writes it to `battery.json`, with the revisions of the core that found it. When a number
moves, either an area of the core has changed what comes out, and its number in `advbench.revisions` has to be raised;
or an attack has, whose own digest says so. Then write it again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from advbench.plugin import Attack
from advbench.plugins.discovery import discover
from advbench.revisions import REVISIONS
from advbench.testing.scene import scene
from advbench.testing.stage import tried
from advbench.threats import Threat, advbench_threats
from advbench.threats.shared import Shared
from advbench_foreign.foreign import Foreign

FILE = Path(__file__).with_name("battery.json")
COUNT = 4
"""Images of each cell."""

Found = list[list[Any]]
"""By image: whether the goal was reached inside the ball, and the size."""


def cells() -> Iterator[tuple[str, Attack, Threat, bool]]:
    balls = {ball.name: ball for ball in advbench_threats()}
    registry = discover()
    for label, attack in sorted(registry.attacks.items()):
        if not registry.origin(attack).built_in or isinstance(attack, Foreign):  # what those find is their library's
            continue
        trial = registry.settle(replace(attack, **attack.trial))
        for name, ball in sorted(balls.items()):
            if not attack.searches(ball):
                continue
            threat = tried(ball)
            threat = threat.at(float("inf")) if attack.minimizes else threat
            threat = Shared.of(threat) if attack.scope == "set" else threat
            for targeted in (False, True) if attack.targeted else (False,):
                yield f"{label} {name} {'targeted' if targeted else 'untargeted'}", trial, threat, targeted


def found(attack: Attack, threat: Threat, targeted: bool) -> Found:
    stage = scene(threat, targeted, count=COUNT)
    torch.set_num_threads(1)
    verdicts = stage.verdicts(stage.perturbed(attack))
    return [[int(one.reached and not one.violation), round(one.size, 6)] for one in verdicts]


def main() -> int:
    rows = {name: found(attack, threat, targeted) for name, attack, threat, targeted in cells()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    revisions = json.dumps(REVISIONS)
    FILE.write_text(f'{{"revisions": {revisions},\n"found": {{\n{lines}\n}}}}\n', encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
