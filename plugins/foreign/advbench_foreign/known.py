"""What is known of a library's attack without asking the library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from advbench import Access

LINF, L2, L1 = (frozenset({name}) for name in ("linf", "l2", "l1"))


@dataclass(frozen=True)
class Known:
    """A library's attack as a plan needs to know it; the library need not be installed for that."""

    balls: frozenset[str]
    needs: Access = Access.GRADIENTS
    targeted: bool = True
    minimizes: bool = False
    """Whether it looks for the smallest perturbation, and is given no radius."""
    beyond_gradients: bool = False
    starts: bool = False
    """Whether it has to begin at an image that fools, and fails by an error of its own where it knows none."""

    def but(self, **changes: Any) -> Known:
        return replace(self, **changes)
