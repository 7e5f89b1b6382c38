"""The threat balls: what one is, and the six that every attack and suite can count on."""

from advbench.hooks import hookimpl
from advbench.threats.box import Box
from advbench.threats.corruption import Corruption
from advbench.threats.l2 import L2
from advbench.threats.linf import Linf
from advbench.threats.rotate_shift import RotateShift
from advbench.threats.shared import Shared
from advbench.threats.threat import Threat
from advbench.threats.wasserstein import Wasserstein

__all__ = ["L2", "Box", "Corruption", "Linf", "RotateShift", "Threat", "Wasserstein", "advbench_threats", "is_core"]


@hookimpl
def advbench_threats() -> list[Threat]:
    """The core's own, through the hook that everybody has; `discover` asks it first, whatever else is installed."""
    return [Linf(), L2(), RotateShift(), Wasserstein(), Corruption(), Box()]


def is_core(threat: Threat) -> bool:
    """Whether the ball is one of the six, whose rules belong to the protocol; another's author goes into keys."""
    ball = threat.ball if isinstance(threat, Shared) else threat
    return type(ball) in _CORE


_CORE = frozenset(type(ball) for ball in advbench_threats())
