"""The 17 corruptions of corrupted MNIST that Qin et al. (2020, table 2) name, for images of any size.

Strengths at severity 1 are those of Mu and Gilmer (2019, arXiv:1906.02337), whose code states them for 28 x 28 pixels;
lengths grow with the shorter side. Their frost is cut from photographs, ours is drawn.
"""

from advbench.threats.corruptions.kinds import KINDS, NAMES, Kind

__all__ = ["KINDS", "NAMES", "Kind"]
