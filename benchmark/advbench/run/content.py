"""What a cell's outcome depends on beside its parameters and its target, as its attack says."""

from __future__ import annotations

from collections.abc import Iterable

from advbench.errors import PluginError
from advbench.plugin import Attack
from advbench.plugins.foreign import attributed, spare_others
from advbench.plugins.registry import Registry


def refuse_missing(attacks: Iterable[Attack]) -> None:
    """Raise what an attack says is not here: a file that it reads, a library. A broken attack is left to its cells."""
    for attack in attacks:
        with spare_others(attack.label):
            attack.content()


def content_of(attack: Attack, registry: Registry) -> str:
    """A text that changes with whatever the attack reads, and with the attacks that it builds on.

    Empty where it does neither.
    """
    with attributed(f"{attack.label}: `content` failed"):
        content: object = attack.content()
    if not isinstance(content, str):
        raise PluginError(f"{attack.label}: `content` returned {type(content).__name__}, not a text")
    others = (f"{_source(other, registry)} {content_of(other, registry)}" for other in attack.others.values())
    return " ".join(filter(None, [content, *others]))


def _source(attack: Attack, registry: Registry) -> str:
    return str(sorted(registry.origin(attack).params().items()))
