"""Who stands beside which attack of ours."""

from __future__ import annotations

from torch import Tensor

from advbench.plugin import Attack
from advbench_peers.libraries import (
    L2,
    LINF,
    PIXELS,
    Peer,
    Setting,
    alpha,
    always,
    apgd_loss,
    eps,
    in_adv_lib,
    in_art,
    in_autoattack,
    in_foolbox,
    in_torchattacks,
    order,
    queries,
    restarts,
    steps,
)
from advbench_peers.minimal_norm import MINIMAL_NORM
from advbench_peers.wasserstein import WASSERSTEIN


def peers_of(attack: Attack, threat: str) -> list[Peer]:
    """Everybody's form of this attack in this ball, installed or not."""
    return [peer for peer in PEERS if peer.attack == attack.name and threat in peer.threats]


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
        in_foolbox("HopSkipJumpAttack", False, steps=steps),
    ),
    Peer("ART", "art", "hopskipjump", PIXELS, in_art("HopSkipJump", norm=order, max_iter=steps, verbose=always(False))),
    Peer("foolbox", "foolbox", "boundary", L2, in_foolbox("BoundaryAttack", False, steps=queries)),
    Peer("torchattacks", "torchattacks", "fgsm", LINF, in_torchattacks("FGSM", eps=eps)),
    Peer("foolbox", "foolbox", "fgsm", LINF, in_foolbox("LinfFastGradientAttack", True)),
    Peer("torchattacks", "torchattacks", "bim", LINF, in_torchattacks("BIM", eps=eps, alpha=alpha, steps=steps)),
    Peer("torchattacks", "torchattacks", "mi-fgsm", LINF, in_torchattacks("MIFGSM", eps=eps, alpha=alpha, steps=steps)),
    Peer("torchattacks", "torchattacks", "pgd", LINF, in_torchattacks("PGD", eps=eps, alpha=alpha, steps=steps)),
    Peer("torchattacks", "torchattacks", "pgd", L2, in_torchattacks("PGDL2", eps=eps, alpha=alpha, steps=steps)),
    Peer("foolbox", "foolbox", "pgd", LINF, in_foolbox("LinfPGD", True, abs_stepsize=alpha, steps=steps)),
    Peer("foolbox", "foolbox", "pgd", L2, in_foolbox("L2PGD", True, abs_stepsize=alpha, steps=steps)),
    Peer(
        "adv-lib",
        "adv_lib",
        "pgd",
        LINF,
        in_adv_lib("pgd_linf", ε=eps, steps=steps, absolute_step_size=alpha),
    ),
    Peer(
        "ART",
        "art",
        "pgd",
        PIXELS,
        in_art(
            "ProjectedGradientDescentPyTorch",
            norm=order,
            eps=eps,
            eps_step=alpha,
            max_iter=steps,
            num_random_init=always(1),
            batch_size=always(256),
            verbose=always(False),
        ),
    ),
    Peer(
        "AutoAttack",
        "pyautoattack",
        "apgd",
        PIXELS,
        in_autoattack(
            apgd_loss,
            apgd__n_iter=steps,
            apgd__n_restarts=restarts,
            apgd_targeted__n_iter=steps,
            apgd_targeted__n_restarts=restarts,
        ),
    ),
    Peer("adv-lib", "adv_lib", "apgd", PIXELS, in_adv_lib("apgd", eps=eps, norm=order, n_iter=steps)),
    Peer("AutoAttack", "pyautoattack", "autoattack", PIXELS, in_autoattack(None)),
    Peer("AutoAttack", "pyautoattack", "square", PIXELS, in_autoattack(always("square"), square__n_queries=queries)),
    Peer(
        "torchattacks",
        "torchattacks",
        "square",
        PIXELS,
        in_torchattacks("Square", norm=lambda s: s.norm, eps=eps, n_queries=queries),
    ),
    *MINIMAL_NORM,
    *WASSERSTEIN,
)
