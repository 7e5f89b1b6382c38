"""The networks of the report: as suites name them, as the store labels them, as the page calls them."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Wanted

DIGITS, BLACK_AND_WHITE, PHOTOS = "mnist", "mnist(binarized=true)", "imagenet-samples"
FOLDER = "wong2019_mnist"
"""Where a data folder has the four checkpoints of Wong et al."""


@dataclass(frozen=True)
class Network:
    title: str
    model: str
    defense: str = "none"
    dataset: str = DIGITS

    @property
    def label(self) -> str:
        """As the store has it: without a file's folder, and without a defense that is none."""
        brief = self.model.replace(f"{FOLDER}/", "")
        return brief if self.defense == "none" else f"{brief}+{self.defense}"

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.dataset, self.model, self.defense)


def checkpoint(name: str) -> str:
    return f"wong2019(weights={FOLDER}/{name}.safetensors)"


VANILLA = Network("Vanilla (published)", checkpoint("mnist_vanilla"))
TRANSPORT = Network("Wasserstein-trained (published)", checkpoint("mnist_adv_training"))
ROBUST = Network("l∞ robust (published)", checkpoint("mnist_robust"))
BINARIZED = Network("binarised (published)", checkpoint("mnist_binarize"), dataset=BLACK_AND_WHITE)
PUBLISHED = (VANILLA, TRANSPORT, ROBUST)

PLAIN = Network("plain (ours)", "wong2019")
IN_LINF = Network("trained in l∞ 0.3 (ours)", "wong2019", "adversarial-training")
IN_L2 = Network("trained in l2 1.5 (ours)", "wong2019", 'adversarial-training(threat="l2(eps=1.5)")')
IN_TRANSPORT = Network(
    "trained in Wasserstein 1 (ours)",
    "wong2019",
    'adversarial-training(threat="wasserstein(eps=1, power=2)", steps=4, epochs=0.5)',
)
IN_TURNS = Network(
    "trained on the worst of ten turns (ours)", "wong2019", "adversarial-training(threat=rotate-shift, rule=worst-of-k)"
)
OURS = (PLAIN, IN_LINF, IN_L2, IN_TRANSPORT, IN_TURNS)

AUGMENTED_30 = Network("augmented by 30° and 3 px (ours)", "wong2019", "augment(degrees=30, pixels=3)")
AUGMENTED_40 = Network("augmented by 40° and 4 px (ours)", "wong2019", "augment(degrees=40, pixels=4)")

MADRY = Network("small-cnn trained in l∞ 0.3", "small-cnn", "adversarial-training(epochs=2)")
LITE = Network("EfficientNet-Lite0", "efficientnet-lite0", dataset=PHOTOS)
