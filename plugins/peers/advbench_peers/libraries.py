"""The same attack in other libraries, called with the same radius, steps and images.

None of them is needed for anything but this comparison: what is not installed is left out, and said so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advbench.plugin import Attack


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

    @property
    def name(self) -> str:
        return f"{self.library} {self.detail}".strip()

    @property
    def here(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


PIXELS = frozenset({"linf", "l2"})
LINF = frozenset({"linf"})
L2 = frozenset({"l2"})


# torchattacks


def in_torchattacks(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import torchattacks

        attack = getattr(torchattacks, name)(s.net, **{key: value(s) for key, value in given.items()})
        images: Tensor = attack(s.images, s.labels)
        return images

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

        fmodel = foolbox.PyTorchModel(s.net, bounds=(0, 1), device=s.images.device)
        attack = getattr(foolbox.attacks, name)(**{key: value(s) for key, value in given.items()})
        _, clipped, _ = attack(fmodel, s.images, s.labels, epsilons=s.eps if bounded else None)
        images: Tensor = clipped
        return images

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


def in_adv_lib(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import adv_lib.attacks

        function = getattr(adv_lib.attacks, name)
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


def in_art(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import art.attacks.evasion
        from art.estimators.classification import PyTorchClassifier

        classifier = PyTorchClassifier(
            model=s.net,
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
