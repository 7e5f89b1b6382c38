"""Papers that advbench reproduces, a package each: suites, analyses, published numbers, claims and the page."""

from advbench import Study, hookimpl
from advbench_studies.billovits2016 import Billovits2016
from advbench_studies.dcosta2019 import DCosta2019
from advbench_studies.equivariant2019 import UniversalAttacksOnEquivariantNetworks
from advbench_studies.michels2019 import Michels2019
from advbench_studies.qin2020 import Qin2020


@hookimpl
def advbench_studies() -> list[Study]:
    return [Billovits2016(), DCosta2019(), Michels2019(), Qin2020(), UniversalAttacksOnEquivariantNetworks()]
