"""The attacks that ship with advbench."""

from advbench.hooks import hookimpl
from advbench.plugin import Attack
from advbench_attacks.fgsm import FGSM
from advbench_attacks.noise import Noise
from advbench_attacks.pgd import PGD


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [Noise(), FGSM(), PGD()]
