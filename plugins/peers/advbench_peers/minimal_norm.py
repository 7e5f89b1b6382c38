"""Who stands beside the minimal-norm attacks: same images, same steps, no radius, and every one runs to its end.

`brendel-bethge`, which searches from both sides, stands beside the strongest of every family at once: the goal is the
best that any of them finds for each example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from advbench_peers.libraries import L2, LINF, PIXELS, Peer, Run, Setting, always, in_adv_lib, in_foolbox, order, steps

NO_RADIUS = 1e3
"""Farther than any image in the box, where a peer insists on a radius."""


def _rounds(s: Setting) -> int:
    return int(s.parameter("rounds"))


def _everything(s: Setting) -> int:
    return _rounds(s) * steps(s)


def _fab(targeted: bool) -> Run:
    """AutoAttack's own FAB, asked directly: its evaluation would keep what lies within a radius alone."""

    def run(s: Setting) -> Tensor:
        import pyautoattack

        suite = pyautoattack.AutoAttack(
            s.net, norm=s.norm, eps=NO_RADIUS, seed=s.seed, device=s.images.device, version="custom", attacks=["fab"]
        )
        suite.fab.n_iter, suite.fab.n_restarts, suite.fab.targeted = steps(s), 1, targeted
        images: Tensor = suite.fab.perturb(s.images, s.labels)
        return images

    return run


def _brendel_bethge(count: int, *, start: str) -> Run:
    """foolbox's walk, which begins at the nearest judged image of another class, or at what DDN finds.

    One start that is no success ends foolbox's whole batch: images without one are left out, and come back as they are.
    """

    def run(s: Setting) -> Tensor:
        import foolbox

        fmodel = foolbox.PyTorchModel(s.net, bounds=(0, 1), device=s.images.device)
        with torch.no_grad():
            answers = s.net(s.images).argmax(1)
        if start == "images":
            apart = torch.cdist(s.images.flatten(1), s.images.flatten(1))
            apart[answers.unsqueeze(0) == s.labels.unsqueeze(1)] = torch.inf
            found, nearest = apart.min(1)
            first, usable = s.images[nearest], found < torch.inf
        else:
            first = in_adv_lib("ddn", steps=always(100), levels=always(None))(s)
            with torch.no_grad():
                usable = s.net(first).argmax(1) != s.labels
        rows = (usable & (answers == s.labels)).nonzero().squeeze(1)
        images = s.images.clone()
        kind = (
            foolbox.attacks.L2BrendelBethgeAttack if s.threat == "l2" else foolbox.attacks.LinfinityBrendelBethgeAttack
        )
        _, clipped, _ = kind(steps=count)(
            fmodel, s.images[rows], s.labels[rows], epsilons=None, starting_points=first[rows]
        )
        images[rows] = clipped
        return images

    return run


def _cw(rounds: Callable[[Setting], int], each: Callable[[Setting], int], rate: float) -> dict[str, Any]:
    # theirs looks ten times a round whether to give up, and divides by zero in shorter ones
    return {
        "max_iterations": each,
        "binary_search_steps": rounds,
        "learning_rate": always(rate),
        "abort_early": lambda s: each(s) >= 10,
    }


MINIMAL_NORM: tuple[Peer, ...] = (
    Peer("adv-lib", "adv_lib", "deepfool", PIXELS, in_adv_lib("df", steps=steps, norm=order), "df"),
    Peer("adv-lib", "adv_lib", "deepfool", L2, in_adv_lib("sdf", steps=steps), "sdf"),
    Peer("foolbox", "foolbox", "deepfool", L2, in_foolbox("L2DeepFoolAttack", False, steps=steps)),
    Peer("foolbox", "foolbox", "deepfool", LINF, in_foolbox("LinfDeepFoolAttack", False, steps=steps)),
    Peer("adv-lib", "adv_lib", "ddn", L2, in_adv_lib("ddn", steps=steps, levels=always(None))),
    Peer("foolbox", "foolbox", "ddn", L2, in_foolbox("DDNAttack", False, steps=steps)),
    Peer("adv-lib", "adv_lib", "fmn", PIXELS, in_adv_lib("fmn", norm=order, steps=steps)),
    Peer("foolbox", "foolbox", "fmn", L2, in_foolbox("L2FMNAttack", False, steps=steps)),
    Peer("foolbox", "foolbox", "fmn", LINF, in_foolbox("LInfFMNAttack", False, steps=steps)),
    Peer("adv-lib", "adv_lib", "fmn", L2, in_adv_lib("alma", num_steps=steps), "alma"),
    Peer("adv-lib", "adv_lib", "fab", PIXELS, in_adv_lib("fab", norm=order, n_iter=steps)),
    Peer("AutoAttack", "pyautoattack", "fab", PIXELS, _fab(False)),
    Peer("AutoAttack", "pyautoattack", "fab", PIXELS, _fab(True), "targeted"),
    Peer("adv-lib", "adv_lib", "cw", L2, in_adv_lib("carlini_wagner_l2", **_cw(_rounds, steps, 0.05)), "lr 0.05"),
    Peer("adv-lib", "adv_lib", "cw", L2, in_adv_lib("carlini_wagner_l2", **_cw(_rounds, steps, 0.01)), "lr 0.01"),
    Peer(
        "adv-lib",
        "adv_lib",
        "cw",
        L2,
        in_adv_lib("carlini_wagner_l2", **_cw(always(1), _everything, 0.01), initial_const=always(1.0)),
        "one c = 1, lr 0.01",
    ),
    Peer(
        "foolbox",
        "foolbox",
        "cw",
        L2,
        in_foolbox("L2CarliniWagnerAttack", False, steps=steps, binary_search_steps=_rounds, stepsize=always(0.05)),
        "lr 0.05",
    ),
    Peer("foolbox", "foolbox", "brendel-bethge", PIXELS, _brendel_bethge(200, start="images"), "200, other image"),
    Peer("foolbox", "foolbox", "brendel-bethge", L2, _brendel_bethge(50, start="ddn"), "50 after DDN", True),
    Peer("adv-lib", "adv_lib", "brendel-bethge", L2, in_adv_lib("sdf", steps=always(50)), "sdf 50"),
    Peer("adv-lib", "adv_lib", "brendel-bethge", L2, in_adv_lib("alma", num_steps=always(1000)), "alma 1000"),
    Peer("adv-lib", "adv_lib", "brendel-bethge", L2, in_adv_lib("pdgd", num_steps=always(1000)), "pdgd 1000"),
    Peer("adv-lib", "adv_lib", "brendel-bethge", PIXELS, in_adv_lib("fab", norm=order, n_iter=always(50)), "fab 50"),
    Peer("adv-lib", "adv_lib", "brendel-bethge", LINF, in_adv_lib("fmn", norm=order, steps=always(1000)), "fmn 1000"),
    Peer(
        "adv-lib",
        "adv_lib",
        "brendel-bethge",
        LINF,
        in_adv_lib("pdpgd", norm=order, num_steps=always(100)),
        "pdpgd 100",
    ),
)
