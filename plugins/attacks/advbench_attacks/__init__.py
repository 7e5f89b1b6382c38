"""The attacks that ship with advbench."""

from advbench import Attack, hookimpl
from advbench_attacks.apgd import APGD
from advbench_attacks.autoattack import AutoAttack
from advbench_attacks.aware import Aware
from advbench_attacks.bim import BIM
from advbench_attacks.boundary import Boundary
from advbench_attacks.brendel_bethge import BrendelBethge
from advbench_attacks.corruptions import Corruptions
from advbench_attacks.cppn import CPPN
from advbench_attacks.cw import CW
from advbench_attacks.ddn import DDN
from advbench_attacks.deepfool import DeepFool
from advbench_attacks.fab import FAB
from advbench_attacks.fgsm import FGSM
from advbench_attacks.fmn import FMN
from advbench_attacks.frank_wolfe import FrankWolfe
from advbench_attacks.grid import Grid
from advbench_attacks.hopskipjump import HopSkipJump
from advbench_attacks.mi_fgsm import MIFGSM
from advbench_attacks.noise import Noise
from advbench_attacks.pgd import PGD
from advbench_attacks.random_search import Random
from advbench_attacks.reconstructive import RBIM, RFGSM, RPGD
from advbench_attacks.repeat import Repeat
from advbench_attacks.rubbish import Rubbish
from advbench_attacks.sinkhorn import Sinkhorn
from advbench_attacks.spectral import Spectral
from advbench_attacks.square import Square
from advbench_attacks.transfer import Transfer
from advbench_attacks.universal import Universal
from advbench_attacks.universal_deepfool import UniversalDeepFool
from advbench_attacks.universal_pgd import UniversalPGD
from advbench_attacks.wasserstein_pgd import WassersteinPGD
from advbench_attacks.worst_of_k import WorstOfK


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [
        Noise(),
        APGD(),
        AutoAttack(),
        BIM(),
        FGSM(),
        MIFGSM(),
        PGD(),
        BrendelBethge(),
        CW(),
        DDN(),
        DeepFool(),
        FAB(),
        FMN(),
        Boundary(),
        HopSkipJump(),
        Random(),
        Square(),
        Spectral(),
        Universal(),
        UniversalDeepFool(),
        UniversalPGD(),
        Corruptions(),
        Repeat(),
        Transfer(),
        CPPN(),
        Rubbish(),
        Aware(),
        RBIM(),
        RFGSM(),
        RPGD(),
        Grid(),
        WorstOfK(),
        WassersteinPGD(),
        FrankWolfe(),
        Sinkhorn(),
    ]
