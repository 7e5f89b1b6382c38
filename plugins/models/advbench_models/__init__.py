"""The models that ship with advbench."""

from advbench import Model, hookimpl
from advbench_models.capsnet import CapsNet
from advbench_models.capsnet_r import CapsNetAll, CapsNetR, DeepCaps
from advbench_models.cnn_cr import CnnCr
from advbench_models.cnn_r import CnnR
from advbench_models.convnet import ConvNet
from advbench_models.dcnet import DCNet
from advbench_models.efficientnet_lite0 import EfficientNetLite0
from advbench_models.em_capsnet import EmCapsNet
from advbench_models.equivariant import Gcnn, StdCnn
from advbench_models.roteqnet import RotEqNet
from advbench_models.small_cnn import SmallCNN
from advbench_models.softmax import Softmax
from advbench_models.torchvision import Torchvision
from advbench_models.vgg import VggSmall
from advbench_models.wong2019 import Wong2019


@hookimpl
def advbench_models() -> list[Model]:
    return [
        SmallCNN(),
        CapsNet(),
        CapsNetAll(),
        CapsNetR(),
        CnnCr(),
        CnnR(),
        ConvNet(),
        DCNet(),
        DeepCaps(),
        EfficientNetLite0(),
        EmCapsNet(),
        Gcnn(),
        RotEqNet(),
        Softmax(),
        StdCnn(),
        VggSmall(),
        Wong2019(),
        Torchvision(),
    ]
