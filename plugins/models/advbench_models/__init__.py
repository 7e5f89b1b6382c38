"""The models that ship with advbench."""

from advbench.hooks import hookimpl
from advbench.plugin import Model
from advbench_models.cnn_cr import CnnCr
from advbench_models.small_cnn import SmallCNN
from advbench_models.torchvision import Torchvision
from advbench_models.wong2019 import Wong2019


@hookimpl
def advbench_models() -> list[Model]:
    return [SmallCNN(), CnnCr(), Wong2019(), Torchvision()]
