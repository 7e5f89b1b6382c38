"""What a cell's outcome depends on beside its parameters and its target, as its attack says."""

from __future__ import annotations

from advbench.errors import PluginError
from advbench.plugin import Attack
from advbench.plugins.foreign import told


def content_of(attack: Attack) -> str:
    """A text that changes with whatever the attack reads; empty where it reads nothing."""
    with told(f"{attack.label}: `content` failed"):
        content: object = attack.content()
    if not isinstance(content, str):
        raise PluginError(f"{attack.label}: `content` returned {type(content).__name__}, not a text")
    return content
