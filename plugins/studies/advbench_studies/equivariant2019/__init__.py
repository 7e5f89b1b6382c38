"""Universal Attacks on Equivariant Networks, submitted to ICLR 2019 without names of its authors."""

from advbench_studies.equivariant2019.study import (
    UniversalAttacksOnEquivariantNetworks as UniversalAttacksOnEquivariantNetworks,
)
