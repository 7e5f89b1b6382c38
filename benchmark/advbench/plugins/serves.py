"""Which attack serves which ball, goal and access: what the declarations of a registry say, as a table."""

from __future__ import annotations

from advbench.plugin import Attack
from advbench.plugins.compatibility import told
from advbench.plugins.registry import Registry
from advbench.threats import THREATS

YES = "●"


def headings() -> list[str]:
    return ["attack", *THREATS, "aims", "minimal", "set-wide", "beyond gradients", "needs"]


def rows(registry: Registry) -> list[list[str]]:
    """A row per attack name; entrants of one name differ in parameters alone."""
    by_name: dict[str, Attack] = {}
    for attack in registry.attacks.values():
        by_name.setdefault(attack.name, attack)
    return [_row(attack) for _, attack in sorted(by_name.items())]


def markdown(registry: Registry) -> str:
    """The table as the documentation holds it."""
    lines = [headings(), ["---", *("---" for _ in headings()[1:])]]
    lines += [[f"`{name}`", *rest] for name, *rest in rows(registry)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(attack: Attack) -> list[str]:
    balls = [YES if name in attack.threats else "" for name in THREATS]
    flags = [attack.targeted, attack.minimizes, attack.scope == "set", attack.beyond_gradients]
    return [attack.name, *balls, *(YES if flag else "" for flag in flags), told(attack)]
