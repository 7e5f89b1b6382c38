"""The data sets that advbench knows."""

from advbench import Dataset, hookimpl
from advbench_datasets.cifar10 import Cifar10
from advbench_datasets.imagenet_samples import ImagenetSamples
from advbench_datasets.mnist import FashionMnist, Mnist
from advbench_datasets.mnist_5k import Mnist5k
from advbench_datasets.svhn import Svhn


@hookimpl
def advbench_datasets() -> list[Dataset]:
    return [Mnist5k(), Mnist(), FashionMnist(), Svhn(), Cifar10(), ImagenetSamples()]
