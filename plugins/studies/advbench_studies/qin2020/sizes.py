"""How much each level computes: numbers of examples and of steps, grids of β, and which networks take part."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Level

NETWORKS = {"CapsNet": "capsnet-r", "CNN+CR": "cnn-cr", "CNN+R": "cnn-r"}
"""The paper's names and ours."""
TITLES = {ours: paper for paper, ours in NETWORKS.items()}
MNIST, FASHION = "mnist", "fashion-mnist"
DATASETS = {"MNIST": MNIST, "Fashion-MNIST": FASHION}
GOALS = {"targeted": "random", "untargeted": "untargeted"}
DETECTOR = "reconstruction"

EPS = {MNIST: 0.3, FASHION: 0.1}
PAIRS_EPS = 25 / 255
STEP, LONG_STEP = 0.01, 0.05
"""The paper's c: of BIM and PGD, and of FGSM."""
EVERYWHERE = 28
"""The length of the longest change of an image of 28 x 28 pixels: attacks that look for the smallest have no limit."""

CORRUPTIONS = {
    "gaussian_noise": "noise",
    "gaussian_blur": "blur",
    "line": "line",
    "dotted_line": "dotted-line",
    "elastic_transform": "elastic",
    "saturate": "saturate",
    "jpeg": "jpeg",
    "quantize": "quantize",
    "sheer": "shear",
    "spatter": "spatter",
    "rotate": "rotate",
    "contrast": "contrast",
    "inverse": "inverse",
    "canny_edge": "canny",
    "fog": "fog",
    "frost": "frost",
    "zigzag": "zigzag",
}
"""The paper's names of the corruptions, and ours."""


@dataclass(frozen=True)
class Sizes:
    """Of one level."""

    standard: int
    """Examples of the attacks that do not know of the detector, and of black-box PGD."""
    reconstructive: int
    corrupted: int
    pairs: int
    clean: int
    """Clean test images for errors and for distances."""
    distances: int
    """Clean test images that are redrawn from every class."""
    steps: dict[str, int]
    """Of BIM, PGD and their reconstructive kin, by data set."""
    aware_steps: int
    betas: tuple[float, ...]
    """Of R-PGD, and of R-FGSM, which costs little."""
    short_betas: tuple[float, ...]
    """Of R-BIM and of black-box R-PGD."""
    long_r_fgsm: bool
    """Whether R-FGSM is tried with a step as long as the radius, too."""
    one_stage: tuple[float, ...]
    """β of the weighted sum, whose scale is another."""
    cw: tuple[tuple[int, int], ...]
    """Values of c and steps with each; the first is the one that stands in the tables."""
    fashion: tuple[str, ...]
    """Networks that are attacked on Fashion-MNIST."""
    corrupted_networks: tuple[str, ...]
    transfer: tuple[str, ...]
    """Networks between which plain PGD is carried over."""
    substitutes: tuple[str, ...]
    balances: tuple[str, ...]
    """Networks of `mnist-5k` that differ in the weight of the reconstruction loss."""
    balance_examples: int
    originals: tuple[str, ...] = ()
    """Capsules of the original size."""


ALL = tuple(NETWORKS.values())
FIRST_ON_FASHION = ("capsnet-r",)
"""All that level smoke has the time for."""

SIZES: dict[Level, Sizes] = {
    "smoke": Sizes(
        standard=6,
        reconstructive=4,
        corrupted=16,
        pairs=6,
        clean=100,
        distances=100,
        steps={MNIST: 4, FASHION: 12},
        aware_steps=5,
        betas=(0.5, 0.75),
        short_betas=(0.75,),
        long_r_fgsm=False,
        one_stage=(0.75,),
        cw=((1, 40),),
        fashion=FIRST_ON_FASHION,
        corrupted_networks=("cnn-cr",),
        transfer=("cnn-cr", "cnn-r"),
        substitutes=(),
        balances=("cnn-cr",),
        balance_examples=16,
    ),
    "hour": Sizes(
        standard=100,
        reconstructive=50,
        corrupted=1000,
        pairs=40,
        clean=10_000,
        distances=500,
        steps={MNIST: 1000, FASHION: 500},
        aware_steps=100,
        # on CNN+CR undetected successes are many at 0.5 and none at 0.6, so the grid is finest there
        betas=(0.25, 0.5, 0.55, 0.6, 0.75),
        short_betas=(0.5, 0.55, 0.75),
        long_r_fgsm=True,
        one_stage=(0.5, 0.75, 0.9),
        cw=((9, 1000), (5, 200)),
        fashion=ALL,
        corrupted_networks=ALL,
        transfer=ALL,
        substitutes=ALL,
        balances=(
            "cnn-cr(balance=0.005)",
            "cnn-cr",
            "cnn-cr(balance=0.08)",
            "capsnet-r(balance=0.0005)",
            "capsnet-r",
            "capsnet-r(balance=0.02)",
        ),
        balance_examples=100,
    ),
    "paper": Sizes(
        standard=1000,
        reconstructive=1000,
        corrupted=10_000,
        pairs=1000,
        clean=10_000,
        distances=10_000,
        steps={MNIST: 1000, FASHION: 500},
        aware_steps=1000,
        betas=(0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9),
        short_betas=(0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9),
        long_r_fgsm=True,
        one_stage=(0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99),
        cw=((9, 1000), (5, 200)),
        fashion=ALL,
        corrupted_networks=ALL,
        transfer=ALL,
        substitutes=ALL,
        balances=(
            "cnn-cr(balance=0.005)",
            "cnn-cr",
            "cnn-cr(balance=0.08)",
            "capsnet-r(balance=0.0005)",
            "capsnet-r",
            "capsnet-r(balance=0.02)",
        ),
        balance_examples=1000,
        originals=("capsnet-r(kernels=256, types=32)",),
    ),
}
