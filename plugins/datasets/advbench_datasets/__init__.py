"""The data sets that advbench knows."""

from advbench import Dataset, hookimpl
from advbench_datasets.arrays import Arrays
from advbench_datasets.cifar10 import Cifar10
from advbench_datasets.cifar10_c import Cifar10C
from advbench_datasets.cifar100 import Cifar100
from advbench_datasets.folder import Folder
from advbench_datasets.imagenet_samples import ImagenetSamples
from advbench_datasets.mnist import FashionMnist, Mnist
from advbench_datasets.mnist_5k import Mnist5k
from advbench_datasets.svhn import Svhn


@hookimpl
def advbench_datasets() -> list[Dataset]:
    return [
        Mnist5k(),
        Mnist(),
        FashionMnist(),
        Svhn(),
        Cifar10(),
        Cifar100(),
        Cifar10C(),
        ImagenetSamples(),
        Folder(),
        Arrays(),
    ]
