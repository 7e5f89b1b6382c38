"""The threat balls, by the names that suites and attacks use."""

from advbench.threats.l2 import L2
from advbench.threats.linf import Linf
from advbench.threats.rotate_shift import RotateShift
from advbench.threats.threat import Threat
from advbench.threats.wasserstein import Wasserstein

THREATS: dict[str, type[Threat]] = {ball.name: ball for ball in (Linf, L2, RotateShift, Wasserstein)}

__all__ = ["L2", "THREATS", "Linf", "RotateShift", "Threat", "Wasserstein"]
