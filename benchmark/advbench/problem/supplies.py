"""What an attack is given beside the examples of its cell."""

from __future__ import annotations

from dataclasses import dataclass

from advbench.problem.bank import Bank
from advbench.problem.fit import Fit


@dataclass(frozen=True)
class Supplies:
    """Images beside those that are attacked, for attacks that declare that they use some."""

    fit: Fit | None = None
    """What one perturbation for all is fitted on; None for an attack that takes every example by itself."""
    bank: Bank | None = None
    """Held-out images to start at; None for an attack that does not declare that it uses them."""
