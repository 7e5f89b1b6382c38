"""The attacks of a board for which nobody names any: by ball, those that a cautious reader would want to have tried."""

from __future__ import annotations

from collections.abc import Mapping

from advbench.errors import AdvbenchError
from advbench.plugin import Attack
from advbench.plugins.registry import Registry
from advbench.threats import Threat

STANDARD: Mapping[str, tuple[str, ...]] = {
    "linf": ("autoattack",),
    "l2": ("autoattack", "brendel-bethge"),
    "rotate-shift": ("grid", "worst-of-k"),
    "wasserstein": ("wasserstein-pgd", "frank-wolfe"),
    "corruption": ("corruptions",),
    "box": ("cppn", "rubbish"),
}
"""Attacks by the ball's name, chosen from the measurements that docs/reference.md cites: what left least, and beside
it what fails for another reason."""


def standard_attacks(threat: Threat, registry: Registry) -> tuple[Attack, ...]:
    """The attacks that `attacks: standard` stands for in a ball, with default parameters."""
    attacks = tuple(registry.attack(name) for name in STANDARD.get(threat.name, ()))
    able = tuple(attack for attack in attacks if attack.searches(threat))
    if not able:
        raise AdvbenchError(f"no attacks are standard in {threat.name} balls: name some, as attacks=[…]")
    return able
