"""Two balls that advbench's core does not have, and attacks that know one of them."""

from advbench import Attack, Threat, hookimpl
from advbench_threats.l1 import L1
from advbench_threats.l1_apgd import L1APGD
from advbench_threats.l1_square import L1Square
from advbench_threats.patch import Patch
from advbench_threats.patch_climb import PatchClimb

__all__ = ["L1", "L1APGD", "L1Square", "Patch", "PatchClimb", "advbench_attacks", "advbench_threats"]


@hookimpl
def advbench_threats() -> list[Threat]:
    return [L1(), Patch()]


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [L1APGD(), L1Square(), PatchClimb()]
