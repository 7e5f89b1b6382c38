"""The same attack in other libraries, called with the same radius, steps and images.

None of them is needed for anything but this comparison: what is not installed is left out, and said so.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advbench.plugin import Attack
from advbench_foreign.foolbox import asked as asked_foolbox
from advbench_foreign.torchattacks import asked as asked_torchattacks


@dataclass(frozen=True)
class Setting:
    """What every competitor is given."""

    net: nn.Module
    images: Tensor
    labels: Tensor
    threat: str
    eps: float
    ball: Mapping[str, Any]
    """The threat's own parameters."""
    classes: int
    attack: Attack
    seed: int

    @property
    def norm(self) -> str:
        return {"linf": "Linf", "l2": "L2"}[self.threat]

    def parameter(self, name: str, otherwise: Any = None) -> Any:
        return getattr(self.attack, name, otherwise)


Run = Callable[[Setting], Tensor]

INSTALL = {
    "torchattacks": 'pip install "advbench[peers-torchattacks]"',
    "foolbox": 'pip install "advbench[peers-foolbox]"',
    "AutoAttack": 'pip install "advbench[peers-autoattack]"',
    "ART": 'pip install "advbench[peers-art]"',
    # of its requirements, visdom is no longer built by a current setuptools, and only draws curves
    "adv-lib": "pip install --no-deps adv-lib tqdm",
    "Wu": "in no registry; advbench_peers.wasserstein says what to clone",
    "Wong": "in no registry; advbench_peers.wasserstein says what to clone",
}
"""How each library comes onto a machine."""


@dataclass(frozen=True)
class Peer:
    """One library's form of an attack."""

    library: str
    package: str
    attack: str
    """The name of ours that it stands beside."""
    threats: frozenset[str]
    run: Run
    detail: str = ""
    starts_with_adv_lib: bool = False
    """Whether its start comes from adv-lib, which must then be installed as well."""

    @property
    def name(self) -> str:
        return f"{self.library} {self.detail}".strip()

    @property
    def here(self) -> bool:
        packages = [self.package, "adv_lib"] if self.starts_with_adv_lib else [self.package]
        return all(importlib.util.find_spec(package) is not None for package in packages)

    @property
    def install(self) -> str:
        libraries = [self.library, "adv-lib"] if self.starts_with_adv_lib else [self.library]
        return " and ".join(INSTALL[library] for library in libraries)


PIXELS = frozenset({"linf", "l2"})
LINF = frozenset({"linf"})
L2 = frozenset({"l2"})


# torchattacks


def in_torchattacks(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import torchattacks

        attack = getattr(torchattacks, name)(s.net, **{key: value(s) for key, value in given.items()})
        return asked_torchattacks(attack, s.images, s.labels)

    return run


def eps(s: Setting) -> float:
    return s.eps


def steps(s: Setting) -> int:
    return int(s.parameter("steps"))


def alpha(s: Setting) -> float:
    return float(s.parameter("travel", 2.5)) * s.eps / steps(s)


def queries(s: Setting) -> int:
    return int(s.parameter("queries"))


# foolbox


def in_foolbox(name: str, bounded: bool, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import foolbox

        attack = getattr(foolbox.attacks, name)(**{key: value(s) for key, value in given.items()})
        return asked_foolbox(attack, s.net, s.images, s.labels, s.eps if bounded else None).images

    return run


# AutoAttack, from its package of that name made installable


def in_autoattack(which: Callable[[Setting], str] | None, **attributes: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import pyautoattack

        chosen = {"attacks": [which(s)], "version": "custom"} if which else {}
        adversary = pyautoattack.AutoAttack(
            s.net, norm=s.norm, eps=s.eps, seed=s.seed, device=s.images.device, **chosen
        )
        for path, value in attributes.items():
            owner, _, name = path.partition("__")
            setattr(getattr(adversary, owner), name, value(s))
        found = adversary.run_standard_evaluation(s.images, s.labels, batch_size=len(s.images))
        images: Tensor = found[0] if isinstance(found, tuple) else found
        return images

    return run


def apgd_loss(s: Setting) -> str:
    return {"ce": "apgd-ce", "dlr": "apgd-dlr", "dlr-targeted": "apgd-t"}[s.parameter("loss", "ce")]


def restarts(s: Setting) -> int:
    return int(s.parameter("restarts", 1))


# adversarial-library


def adv_lib_attacks() -> types.ModuleType:
    """Its attacks, also without visdom, which it imports for curves that nobody asks for here."""
    if importlib.util.find_spec("visdom"):
        return importlib.import_module("adv_lib.attacks")
    sys.modules["visdom"] = types.ModuleType("visdom")
    try:
        return importlib.import_module("adv_lib.attacks")
    finally:
        del sys.modules["visdom"]


def in_adv_lib(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        function = getattr(adv_lib_attacks(), name)
        images: Tensor = function(
            model=s.net, inputs=s.images, labels=s.labels, **{key: value(s) for key, value in given.items()}
        )
        return images

    return run


def always(value: Any) -> Callable[[Setting], Any]:
    return lambda s: value


def order(s: Setting) -> float:
    return float("inf") if s.threat == "linf" else 2


# adversarial-robustness-toolbox


class InSingle(nn.Module):
    """ART's searches calculate in float64, and hand that on to the network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.net(x.float())
        return answer


def in_art(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import art.attacks.evasion
        from art.estimators.classification import PyTorchClassifier

        classifier = PyTorchClassifier(
            model=InSingle(s.net).eval(),
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(s.images.shape[1:]),
            nb_classes=s.classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if s.images.is_cuda else "cpu",
        )
        attack = getattr(art.attacks.evasion, name)(classifier, **{key: value(s) for key, value in given.items()})
        images = attack.generate(s.images.cpu().numpy(), y=s.labels.cpu().numpy())
        return torch.from_numpy(images).to(s.images.device)

    return run
