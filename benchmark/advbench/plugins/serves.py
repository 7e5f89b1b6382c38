"""Which attack serves which ball, goal and access: what the declarations of a registry say, as a table."""

from __future__ import annotations

from collections.abc import Mapping

from advbench.plugin import Attack
from advbench.plugins.compatibility import knowledge
from advbench.plugins.registry import Registry
from advbench.threats import Threat

YES = "●"


def headings(registry: Registry) -> list[str]:
    return ["attack", *_balls(registry), "aims", "minimal", "set-wide", "beyond gradients", "needs"]


def rows(registry: Registry) -> list[list[str]]:
    """A row per attack name; entrants of one name differ in parameters alone."""
    by_name: dict[str, Attack] = {}
    for attack in registry.attacks.values():
        by_name.setdefault(attack.name, attack)
    balls = _balls(registry)
    return [_row(attack, balls) for _, attack in sorted(by_name.items())]


def markdown(registry: Registry) -> str:
    """The table as the documentation holds it."""
    lines = [headings(registry), ["---" for _ in headings(registry)]]
    lines += [[f"`{name}`", *rest] for name, *rest in rows(registry)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _balls(registry: Registry) -> dict[str, Threat]:
    """Balls by name, one of each."""
    return {ball.name: ball for ball in registry.threats.values()}


def _row(attack: Attack, balls: Mapping[str, Threat]) -> list[str]:
    served = [YES if attack.searches(ball) else "" for ball in balls.values()]
    flags = [attack.targeted, attack.minimizes, attack.scope == "set", attack.beyond_gradients]
    return [attack.name, *served, *(YES if flag else "" for flag in flags), knowledge(attack)]
