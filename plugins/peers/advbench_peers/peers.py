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


def peers_of(attack: Attack, threat: str) -> list[Peer]:
    """Everybody's form of this attack in this ball, installed or not."""
    return [peer for peer in PEERS if peer.attack == attack.name and threat in peer.threats]


# torchattacks


def _torchattacks(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import torchattacks

        attack = getattr(torchattacks, name)(s.net, **{key: value(s) for key, value in given.items()})
        images: Tensor = attack(s.images, s.labels)
        return images

    return run


def _eps(s: Setting) -> float:
    return s.eps


def _steps(s: Setting) -> int:
    return int(s.parameter("steps"))


def _alpha(s: Setting) -> float:
    return float(s.parameter("travel", 2.5)) * s.eps / _steps(s)


def _queries(s: Setting) -> int:
    return int(s.parameter("queries"))


# foolbox


def _foolbox(name: str, bounded: bool, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import foolbox

        fmodel = foolbox.PyTorchModel(s.net, bounds=(0, 1), device=s.images.device)
        attack = getattr(foolbox.attacks, name)(**{key: value(s) for key, value in given.items()})
        _, clipped, _ = attack(fmodel, s.images, s.labels, epsilons=s.eps if bounded else None)
        images: Tensor = clipped
        return images

    return run


# AutoAttack, from its package of that name made installable


def _autoattack(which: Callable[[Setting], str] | None, **attributes: Callable[[Setting], Any]) -> Run:
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


def _apgd_loss(s: Setting) -> str:
    return {"ce": "apgd-ce", "dlr": "apgd-dlr", "dlr-targeted": "apgd-t"}[s.parameter("loss", "ce")]


def _restarts(s: Setting) -> int:
    return int(s.parameter("restarts", 1))


# adversarial-library


def _adv_lib(name: str, **given: Callable[[Setting], Any]) -> Run:
    def run(s: Setting) -> Tensor:
        import adv_lib.attacks

        function = getattr(adv_lib.attacks, name)
        images: Tensor = function(
            model=s.net, inputs=s.images, labels=s.labels, **{key: value(s) for key, value in given.items()}
        )
        return images

    return run


def _always(value: Any) -> Callable[[Setting], Any]:
    return lambda s: value


def _order(s: Setting) -> float:
    return float("inf") if s.threat == "linf" else 2


# adversarial-robustness-toolbox


def _art(name: str, **given: Callable[[Setting], Any]) -> Run:
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


def _norm(s: Setting) -> float:
    return float("inf") if s.threat == "linf" else 2


def _grid(s: Setting, name: str) -> int:
    return int(s.parameter(name))


def _spatial(s: Setting) -> Tensor:
    import foolbox

    fmodel = foolbox.PyTorchModel(s.net, bounds=(0, 1), device=s.images.device)
    attack = foolbox.attacks.SpatialAttack(
        max_translation=s.ball["pixels"],
        num_translations=int(s.parameter("shifts")),
        max_rotation=s.ball["degrees"],
        num_rotations=int(s.parameter("angles")),
        grid_search=True,
    )
    images: Tensor = attack(fmodel, s.images, s.labels)[1]
    return images


PEERS: tuple[Peer, ...] = (
    Peer("foolbox", "foolbox", "grid", frozenset({"rotate-shift"}), _spatial),
    Peer(
        "foolbox",
        "foolbox",
        "hopskipjump",
        L2,
        _foolbox("HopSkipJumpAttack", False, steps=_steps),
    ),
    Peer("ART", "art", "hopskipjump", PIXELS, _art("HopSkipJump", norm=_norm, max_iter=_steps, verbose=_always(False))),
    Peer("foolbox", "foolbox", "boundary", L2, _foolbox("BoundaryAttack", False, steps=_queries)),
    Peer("torchattacks", "torchattacks", "fgsm", LINF, _torchattacks("FGSM", eps=_eps)),
    Peer("foolbox", "foolbox", "fgsm", LINF, _foolbox("LinfFastGradientAttack", True)),
    Peer("torchattacks", "torchattacks", "bim", LINF, _torchattacks("BIM", eps=_eps, alpha=_alpha, steps=_steps)),
    Peer(
        "torchattacks", "torchattacks", "mi-fgsm", LINF, _torchattacks("MIFGSM", eps=_eps, alpha=_alpha, steps=_steps)
    ),
    Peer("torchattacks", "torchattacks", "pgd", LINF, _torchattacks("PGD", eps=_eps, alpha=_alpha, steps=_steps)),
    Peer("torchattacks", "torchattacks", "pgd", L2, _torchattacks("PGDL2", eps=_eps, alpha=_alpha, steps=_steps)),
    Peer("foolbox", "foolbox", "pgd", LINF, _foolbox("LinfPGD", True, abs_stepsize=_alpha, steps=_steps)),
    Peer("foolbox", "foolbox", "pgd", L2, _foolbox("L2PGD", True, abs_stepsize=_alpha, steps=_steps)),
    Peer(
        "adv-lib",
        "adv_lib",
        "pgd",
        LINF,
        _adv_lib("pgd_linf", ε=_eps, steps=_steps, absolute_step_size=_alpha),
    ),
    Peer(
        "ART",
        "art",
        "pgd",
        PIXELS,
        _art(
            "ProjectedGradientDescentPyTorch",
            norm=_norm,
            eps=_eps,
            eps_step=_alpha,
            max_iter=_steps,
            num_random_init=_always(1),
            batch_size=_always(256),
            verbose=_always(False),
        ),
    ),
    Peer(
        "AutoAttack",
        "pyautoattack",
        "apgd",
        PIXELS,
        _autoattack(
            _apgd_loss,
            apgd__n_iter=_steps,
            apgd__n_restarts=_restarts,
            apgd_targeted__n_iter=_steps,
            apgd_targeted__n_restarts=_restarts,
        ),
    ),
    Peer("adv-lib", "adv_lib", "apgd", PIXELS, _adv_lib("apgd", eps=_eps, norm=_order, n_iter=_steps)),
    Peer("AutoAttack", "pyautoattack", "autoattack", PIXELS, _autoattack(None)),
    Peer("AutoAttack", "pyautoattack", "square", PIXELS, _autoattack(_always("square"), square__n_queries=_queries)),
    Peer(
        "torchattacks",
        "torchattacks",
        "square",
        PIXELS,
        _torchattacks("Square", norm=lambda s: s.norm, eps=_eps, n_queries=_queries),
    ),
    Peer("adv-lib", "adv_lib", "deepfool", PIXELS, _adv_lib("df", steps=_steps, norm=_order), "df"),
    Peer("adv-lib", "adv_lib", "deepfool", L2, _adv_lib("sdf", steps=_steps), "sdf"),
    Peer("foolbox", "foolbox", "deepfool", L2, _foolbox("L2DeepFoolAttack", False, steps=_steps)),
    Peer("foolbox", "foolbox", "deepfool", LINF, _foolbox("LinfDeepFoolAttack", False, steps=_steps)),
    Peer("adv-lib", "adv_lib", "ddn", L2, _adv_lib("ddn", steps=_steps)),
    Peer("foolbox", "foolbox", "ddn", L2, _foolbox("DDNAttack", False, steps=_steps)),
    Peer("adv-lib", "adv_lib", "fmn", PIXELS, _adv_lib("fmn", norm=_order, steps=_steps)),
    Peer("foolbox", "foolbox", "fmn", L2, _foolbox("L2FMNAttack", False, steps=_steps)),
    Peer("foolbox", "foolbox", "fmn", LINF, _foolbox("LInfFMNAttack", False, steps=_steps)),
    Peer("adv-lib", "adv_lib", "fab", PIXELS, _adv_lib("fab", norm=_order, n_iter=_steps)),
    Peer(
        "adv-lib",
        "adv_lib",
        "cw",
        L2,
        _adv_lib(
            "carlini_wagner_l2",
            max_iterations=_steps,
            binary_search_steps=lambda s: int(s.parameter("searches")),
            learning_rate=_always(0.05),
        ),
        "lr 0.05",
    ),
    Peer(
        "foolbox",
        "foolbox",
        "cw",
        L2,
        _foolbox(
            "L2CarliniWagnerAttack",
            False,
            steps=_steps,
            binary_search_steps=lambda s: int(s.parameter("searches")),
            stepsize=_always(0.05),
        ),
        "lr 0.05",
    ),
)
