"""Attacks of other libraries as entrants: counted, held to budgets and judged like any other."""

from advbench import Attack, hookimpl
from advbench_foreign.foolbox import Foolbox
from advbench_foreign.torchattacks import Torchattacks


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [Foolbox(), Torchattacks()]
