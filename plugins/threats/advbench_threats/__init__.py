"""Two balls that advbench's core does not have, and an attack that knows one of them."""

from advbench import Attack, Threat, hookimpl
from advbench_threats.l1 import L1
from advbench_threats.patch import Patch
from advbench_threats.patch_climb import PatchClimb


@hookimpl
def advbench_threats() -> list[Threat]:
    return [L1(), Patch()]


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [PatchClimb()]
