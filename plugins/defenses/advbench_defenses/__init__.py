"""The defenses that ship with advbench."""

from advbench import Defense, hookimpl
from advbench_defenses.adversarial_training import AdversarialTraining
from advbench_defenses.augment import Augment
from advbench_defenses.binarize import Binarize
from advbench_defenses.feature_squeezing import FeatureSqueezing
from advbench_defenses.gaussian_noise import GaussianNoise
from advbench_defenses.jpeg import Jpeg
from advbench_defenses.kde_prior import KdePrior
from advbench_defenses.noise_training import NoiseTraining
from advbench_defenses.none import Undefended
from advbench_defenses.randomized_smoothing import RandomizedSmoothing
from advbench_defenses.reconstruction import Reconstruction
from advbench_defenses.reseed import Reseed


@hookimpl
def advbench_defenses() -> list[Defense]:
    return [
        Undefended(),
        AdversarialTraining(),
        Augment(),
        Binarize(),
        FeatureSqueezing(),
        GaussianNoise(),
        Jpeg(),
        KdePrior(),
        NoiseTraining(),
        RandomizedSmoothing(),
        Reconstruction(),
        Reseed(),
    ]
