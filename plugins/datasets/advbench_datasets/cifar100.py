"""CIFAR-100 (Krizhevsky, 2009: Learning multiple layers of features from tiny images)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advbench_datasets.image_files import Array, ImageFiles

CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""


@dataclass(frozen=True)
class Cifar100(ImageFiles):
    """Small photos of 100 classes: 45,000 to train on, 5,000 to calibrate, the 10,000 test photos to judge."""

    name = "cifar100"
    reference = "Krizhevsky, 2009: Learning multiple layers of features from tiny images"
    shape = (3, 32, 32)
    class_names = tuple(CLASSES.split())
    mirrorable = True
    official = (50_000, 10_000)
    folder = "cifar-100-python"
    arrays = ("cifar100/cifar100.npz", "cifar100.npz")

    def complete(self, root: Path) -> bool:
        return all((root / self.folder / name).is_file() for name in ("meta", "train", "test"))

    def read(self, root: Path, train: bool) -> tuple[Array, Array]:
        from torchvision import datasets

        part = datasets.CIFAR100(str(root), train=train)  # which compares checksums before it unpickles
        return part.data, np.asarray(part.targets)

    def download(self, root: Path) -> None:
        from torchvision import datasets

        datasets.CIFAR100(str(root), download=True)
