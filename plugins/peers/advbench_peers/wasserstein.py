"""Who stands beside the attacks on transport plans: Wong et al.'s and Wu et al.'s own code.

Neither is in a registry: clone both and put on `PYTHONPATH`, in this order, Wong's folder, Wu's, Wu's `sparse_tensor`
built in place (`python setup.py build_ext --inplace`), and Wong's `projected_sinkhorn`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from advbench.errors import AdvbenchError
from advbench_peers.libraries import Peer, Setting, steps

PLANS = frozenset({"wasserstein"})
BATCH = 100


def _in_batches(s: Setting, attack: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    parts = range(0, len(s.images), BATCH)
    return torch.cat([attack(s.images[i : i + BATCH], s.labels[i : i + BATCH]).detach() for i in parts])


def _wong(s: Setting) -> Tensor:
    """Their loop at a fixed radius, as ours has one: it does not grow. All else as in their MNIST script."""
    import pgd  # type: ignore[import-not-found]

    def attack(images: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = pgd.attack(
            images,
            labels,
            s.net,
            epsilon=s.eps,
            epsilon_factor=1.0,
            p=s.ball["power"],
            kernel_size=s.ball["kernel"],
            maxiters=steps(s),
            alpha=0.1,
            regularization=1000,
            norm="linfinity",
        )[0]
        return found

    return _in_batches(s, attack)


def _wu(module: str, kind: str, **settings: Any) -> Callable[[Setting], Tensor]:
    def run(s: Setting) -> Tensor:
        if s.ball["power"] != 1:
            raise AdvbenchError("Wu et al.'s cost is the distance itself: compare at wasserstein(power=1, ...)")
        with _ready_for_wu(s.images.device), contextlib.redirect_stdout(io.StringIO()):
            attacker = getattr(importlib.import_module(module), kind)(
                predict=s.net,
                loss_fn=nn.CrossEntropyLoss(reduction="sum"),
                eps=s.eps,
                kernel_size=s.ball["kernel"],
                nb_iter=steps(s),
                device=s.images.device,
                verbose=False,
                **settings,
            )
            return _in_batches(s, attacker.perturb)

    return run


class _Attack:
    """All that Wu's code uses of advertorch, which no longer imports beside a current torch."""

    def __init__(self, predict: nn.Module, loss_fn: nn.Module, clip_min: float, clip_max: float) -> None:
        self.predict, self.loss_fn, self.clip_min, self.clip_max = predict, loss_fn, clip_min, clip_max


@contextlib.contextmanager
def _ready_for_wu(device: torch.device) -> Iterator[None]:
    """Their code times itself with CUDA's events, also on a CPU, where nothing stands in for them."""
    advertorch, attacks = types.ModuleType("advertorch"), types.ModuleType("advertorch.attacks")
    attacks.Attack = _Attack  # type: ignore[attr-defined]
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(sys.modules, {"advertorch": advertorch, "advertorch.attacks": attacks}))
        if device.type != "cuda":
            event = mock.MagicMock()
            event.return_value.elapsed_time.return_value = 0.0
            stack.enter_context(mock.patch("torch.cuda.Event", event))
            stack.enter_context(mock.patch("torch.cuda.synchronize", return_value=None))
        yield


_FRANK_WOLFE = {"entrp_gamma": 1e-3, "dual_max_iter": 50, "grad_tol": 1e-4, "int_tol": 1e-4}
"""Of their MNIST script."""

WASSERSTEIN: tuple[Peer, ...] = tuple(
    peer
    for ours in ("wasserstein-pgd", "frank-wolfe", "sinkhorn")
    for peer in (
        Peer("Wu", "sparse_tensor_cpp", ours, PLANS, _wu("frank_wolfe", "FrankWolfe", **_FRANK_WOLFE), "frank-wolfe"),
        Peer(
            "Wu",
            "sparse_tensor_cpp",
            ours,
            PLANS,
            _wu("frank_wolfe", "FrankWolfe", postprocess=True, **_FRANK_WOLFE),
            "frank-wolfe, made feasible",
        ),
        Peer("Wong", "projected_sinkhorn", ours, PLANS, _wong, "projected Sinkhorn"),
    )
)
