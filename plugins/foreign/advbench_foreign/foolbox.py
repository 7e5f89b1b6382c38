"""Attacks of foolbox (Rauber et al., 2020, Journal of Open Source Software 5(53), 2607)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

from torch import Tensor, nn

from advbench import Access
from advbench_foreign.arguments import parameters
from advbench_foreign.foreign import Foreign, Given, Keep
from advbench_foreign.known import L1, L2, LINF, Known

STEEPEST = Known(LINF)
BLIND = Known(L2, needs=Access.LABELS, targeted=False)
"""Noise, of which the library asks whether it fools."""
LINE = Known(LINF | L2, needs=Access.LABELS, minimizes=True, beyond_gradients=True)
"""A line from the image that is followed until it fools."""
NEAREST = Known(L2, minimizes=True)
WALK = NEAREST.but(beyond_gradients=True, starts=True)
"""Along the boundary, from the other side of it."""

_DESCENTS = {
    f"{norm}{name}": STEEPEST.but(balls=ball)
    for norm, ball in (("L1", L1), ("L2", L2), ("Linf", LINF))
    for name in (
        "PGD",
        "ProjectedGradientDescentAttack",
        "AdamPGD",
        "AdamProjectedGradientDescentAttack",
        "BasicIterativeAttack",
        "AdamBasicIterativeAttack",
        "MomentumIterativeFastGradientMethod",
    )
}
_NOISES = {
    f"L2{clipped}{often}Additive{kind}NoiseAttack": BLIND
    for clipped in ("", "ClippingAware")
    for often in ("", "Repeated")
    for kind in ("Gaussian", "Uniform")
} | {f"Linf{often}AdditiveUniformNoiseAttack": BLIND.but(balls=LINF) for often in ("", "Repeated")}

TABLE: Mapping[str, Known] = {
    **_DESCENTS,
    **_NOISES,
    "L1FastGradientAttack": STEEPEST.but(balls=L1, targeted=False),
    "L2FastGradientAttack": STEEPEST.but(balls=L2, targeted=False),
    "LinfFastGradientAttack": STEEPEST.but(targeted=False),
    "SparseL1DescentAttack": STEEPEST.but(balls=L1),
    "VirtualAdversarialAttack": STEEPEST.but(balls=L2, targeted=False),
    "L2ContrastReductionAttack": BLIND,
    "InversionAttack": LINE,
    "BinarySearchContrastReductionAttack": LINE,
    "LinearSearchContrastReductionAttack": LINE,
    "LinearSearchBlendedUniformNoiseAttack": LINE,
    "GaussianBlurAttack": LINE,
    "SaltAndPepperNoiseAttack": LINE.but(balls=L2, beyond_gradients=False),
    "PointwiseAttack": LINE.but(starts=True),
    "BoundaryAttack": WALK.but(needs=Access.LABELS),
    "HopSkipJumpAttack": WALK.but(balls=LINF | L2, needs=Access.LABELS),
    "L1BrendelBethgeAttack": WALK.but(balls=L1),
    "L2BrendelBethgeAttack": WALK,
    "LinfinityBrendelBethgeAttack": WALK.but(balls=LINF),
    "DDNAttack": NEAREST,
    "EADAttack": NEAREST.but(balls=L1),
    "L1FMNAttack": NEAREST.but(balls=L1),
    "L2FMNAttack": NEAREST,
    "LInfFMNAttack": NEAREST.but(balls=LINF),
    "L2CarliniWagnerAttack": NEAREST,
    "L2DeepFoolAttack": NEAREST.but(targeted=False),
    "LinfDeepFoolAttack": NEAREST.but(balls=LINF, targeted=False),
    "NewtonFoolAttack": NEAREST.but(targeted=False),
}
_NUMBER_OF_PIXELS = "it counts changed pixels, and there is no such ball"
REFUSED: Mapping[str, str] = {
    "SpatialAttack": "it turns and shifts images, which `grid` does in rotate-shift",
    "GenAttack": "it can only aim at a class",
    "DatasetAttack": "it starts at other images, which a problem hands out in its bank",
    "BinarizationRefinementAttack": "it refines what another attack has found",
    "L0BrendelBethgeAttack": _NUMBER_OF_PIXELS,
    "L0FMNAttack": _NUMBER_OF_PIXELS,
}
OURS: Mapping[str, str] = {
    "distance": "that of the ball",
    "constraint": "that of the ball",
    "channel_axis": "0, since images are (C, H, W)",
    "init_attack": "the library's own choice",
    "tensorboard": "off",
}


@dataclass(frozen=True)
class Foolbox(Foreign):
    """An attack of foolbox by its name there, with its own arguments: `foolbox(attack=LinfPGD, steps=20)`."""

    name = "foolbox"
    reference = "https://doi.org/10.21105/joss.02607"
    library: ClassVar[str] = "foolbox"
    table = TABLE
    refused = REFUSED
    ours = OURS

    attack: str = field(default="LinfPGD", metadata={"always": True})
    keep: Keep = "returned"
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def trial(self) -> Mapping[str, Any]:  # type: ignore[override]
        if self.attack != "LinfPGD" or self.arguments:
            return {}
        return {"arguments": (("rel_stepsize", 0.2), ("steps", 12))}

    def _module(self) -> ModuleType:
        attacks: ModuleType = super()._module().attacks
        return attacks

    def images(self, net: nn.Module, image: Tensor, label: Tensor, given: Given) -> Tensor:
        arguments = self._arguments()
        takes = parameters(self._kind())
        if "distance" in takes:
            arguments["distance"] = getattr(super()._module().distances, given.ball)
        if "constraint" in takes:
            arguments["constraint"] = given.ball
        eps = None if self.known.minimizes else given.eps
        return asked(self._kind()(**arguments), net, image, label, eps, targeted=given.targeted).images

    def found_no_start(self, error: Exception) -> bool:
        return isinstance(error, AssertionError) or str(error).startswith("init_attack failed")


@dataclass(frozen=True)
class Asked:
    """What the library answers for a batch."""

    images: Tensor
    """As near as the radius wants them, where there is one."""
    success: Tensor
    """Which of them it says are adversarial."""


def asked(
    attack: Any, net: nn.Module, images: Tensor, labels: Tensor, eps: float | None, *, targeted: bool = False
) -> Asked:
    """Call an attack of the library as its documentation does; without a radius it looks for the nearest."""
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1), device=images.device)
    criterion = foolbox.criteria.TargetedMisclassification if targeted else foolbox.criteria.Misclassification
    _, clipped, success = attack(model, images, criterion(labels), epsilons=eps)
    return Asked(clipped, success)
