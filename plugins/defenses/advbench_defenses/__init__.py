"""The defenses that ship with advbench."""

from advbench.hooks import hookimpl
from advbench.plugin import Defense
from advbench_defenses.adversarial_training import AdversarialTraining
from advbench_defenses.none import Undefended
from advbench_defenses.reconstruction import Reconstruction


@hookimpl
def advbench_defenses() -> list[Defense]:
    return [Undefended(), AdversarialTraining(), Reconstruction()]
