"""What an entrant is called, and what it aims at, read from its name; no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

_AIMED = re.compile(r" → (random|least-likely|class=\d{1,9})(?: · |$)")
UNTARGETED = "untargeted"
_WORDS = {"random": "a class drawn by chance", "least-likely": "the class that the target finds least likely"}


def entrant(
    attack: str,
    goal: str,
    *,
    stop: str = "first",
    budget: int | None = None,
    fit: str | None = None,
    precision: str | None = None,
) -> str:
    """An attack with all that makes it stronger or weaker than its namesake: `pgd`, `pgd → class=3 · budget=100`.

    `fit` is the part of the data that an attack on a set is fitted on, `precision` a lower one of its passes. The view
    `cell_state` writes it alike.
    """
    words = [attack if goal == UNTARGETED else f"{attack} → {goal}"]
    words += [f"fit={fit}"] if fit not in (None, "calibrate") else []
    words += [f"stop={stop}"] if stop != "first" else []
    words += [f"budget={budget}"] if budget is not None else []
    words += [f"precision={precision}"] if precision not in (None, "float32") else []
    return " · ".join(words)


def goal_of(entrant: str) -> str:
    match = _AIMED.search(entrant)
    return match[1] if match else UNTARGETED


def aim_of(required: Sequence[str], classes: Sequence[str] = ()) -> str:
    """Where a board's required attacks want every image, in words; empty where any of them leaves that open.

    `classes` are the data set's names. Images of a class itself are never sent there.
    """
    goals = list(dict.fromkeys(goal_of(one) for one in required))
    if not goals or UNTARGETED in goals:
        return ""
    numbers = sorted(int(goal.removeprefix("class=")) for goal in goals if goal.startswith("class="))
    words = [_WORDS.get(goal, goal) for goal in goals if not goal.startswith("class=")]
    if len(numbers) > 1 and numbers == list(range(len(classes))):
        words.insert(0, "each other class in turn")
    elif numbers:
        named = [_class_words(number, classes) for number in numbers]
        words.insert(0, f"class {', '.join(named[:-1])} or {named[-1]}" if named[1:] else f"class {named[0]}")
    return " or ".join(words)


def _class_words(number: int, classes: Sequence[str]) -> str:
    """A class by its number, with the data set's own name where that says more."""
    name = str(classes[number]) if number < len(classes) else str(number)
    return str(number) if name == str(number) else f"{number} ({name})"
