"""How the numbers of a ball are checked."""

from __future__ import annotations

import math
from typing import Any

from advbench.errors import AdvbenchError
from advbench.parameters import written
from advbench.parameters import written_radius as written_radius

LARGEST = 1e9
"""Beyond it squares leave float32, and no image is anywhere near."""


def checked(threat: str, unbounded: bool = False, **numbers: Any) -> None:
    """Refuse what is not a number of at least 0; an infinite one only where the ball may be unbounded."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise AdvbenchError(f"{threat}: {name} must be a number, not {value!r}")
        if math.isnan(value) or value < 0:
            raise AdvbenchError(f"{threat}: {name} must be at least 0, not {value}")
        if LARGEST < value < math.inf:
            raise AdvbenchError(f"{threat}: {name} must be at most {written(LARGEST)}, not {value}")
        if math.isinf(value) and not unbounded:
            raise AdvbenchError(f"{threat}: {name} must be finite, this ball has no unbounded form")


def too_far(threat: str, eps: float, farthest: float, levels: bool) -> str | None:
    """Why a finite radius beyond which there is nothing is a slip; `farthest` itself is the way to insist."""
    if math.isinf(eps) or eps <= farthest:
        return None
    changes = "change of pixels in [0, 1]" if levels else "perturbation"
    guess = f"; did you mean {written(eps)}/255? If not," if levels and eps <= 255 else ";"
    largest = f"{math.floor(farthest * 1000) / 1000:g}"
    return f"{threat}: eps={written(eps)} is larger than any {changes} can be{guess} the largest radius is {largest}"
