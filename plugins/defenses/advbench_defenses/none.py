"""No defense: the model as it is."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Defense


@dataclass(frozen=True)
class Undefended(Defense):
    """No defense: the model as it is."""

    name = "none"
