"""The threat balls, by the names that suites and attacks use."""

from advbench.threats.box import Box
from advbench.threats.corruption import Corruption
from advbench.threats.l2 import L2
from advbench.threats.linf import Linf
from advbench.threats.rotate_shift import RotateShift
from advbench.threats.threat import Threat
from advbench.threats.wasserstein import Wasserstein

THREATS: dict[str, type[Threat]] = {ball.name: ball for ball in (Linf, L2, RotateShift, Wasserstein, Corruption, Box)}

__all__ = ["L2", "THREATS", "Box", "Corruption", "Linf", "RotateShift", "Threat", "Wasserstein"]
