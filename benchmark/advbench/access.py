"""What an attacker may learn from a target."""

from __future__ import annotations

from enum import Flag


class Access(Flag):
    """Richer access to the answer implies poorer; suspicion and reconstruction stand apart."""

    # every bit has a name: Python before 3.11.4 drops those that have none when flags are joined
    _SCORES = 0b00010
    _SLOPES = 0b00100

    NOTHING = 0
    """For an attack that asks the target nothing."""
    LABELS = 0b00001
    LOGITS = 0b00011
    GRADIENTS = 0b00111
    SUSPICION = 0b01000
    RECONSTRUCTION = 0b10000

    ALL = 0b11111

    @property
    def words(self) -> str:
        """`gradients and suspicion`: the richest answer first, without what it implies."""
        answer = next((a for a in (Access.GRADIENTS, Access.LOGITS, Access.LABELS) if a in self), None)
        parts = [answer] if answer else []
        parts += [a for a in (Access.SUSPICION, Access.RECONSTRUCTION) if a in self]
        return " and ".join(str(a.name).lower() for a in parts) or "nothing"

    def lacking(self, offered: Access) -> str:
        """In words, what is wanted here and not offered there; empty when nothing is."""
        names = (Access.GRADIENTS, Access.LOGITS, Access.LABELS, Access.SUSPICION, Access.RECONSTRUCTION)
        missing = [a for a in names if a in self and a not in offered]
        answers = [a for a in missing if a in Access.GRADIENTS][:1]  # gradients imply the poorer answers
        return " and ".join(str(a.name).lower() for a in answers + [a for a in missing if a not in Access.GRADIENTS])
