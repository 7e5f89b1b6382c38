"""Attacks of torchattacks (Kim, 2020, arXiv:2010.01950)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from advbench import Access
from advbench_foreign.arguments import parameters
from advbench_foreign.foreign import Foreign, Given, Keep
from advbench_foreign.known import L1, L2, LINF, Known

STEEPEST = Known(LINF)
EITHER = Known(LINF | L2, targeted=False)
NEAREST = Known(L2, minimizes=True)

TABLE: Mapping[str, Known] = {
    **dict.fromkeys(("FGSM", "BIM", "RFGSM", "PGD", "EOTPGD", "FFGSM", "MIFGSM", "UPGD", "DIFGSM", "TIFGSM"), STEEPEST),
    **dict.fromkeys(("Jitter", "NIFGSM", "PGDRS", "SINIFGSM", "VMIFGSM", "VNIFGSM", "PIFGSMPP"), STEEPEST),
    **dict.fromkeys(("TPGD", "PIFGSM"), STEEPEST.but(targeted=False)),
    **dict.fromkeys(("PGDL2", "PGDRSL2"), STEEPEST.but(balls=L2)),
    **dict.fromkeys(("APGD", "APGDT"), EITHER),
    "AutoAttack": EITHER.but(beyond_gradients=True),
    "FAB": EITHER.but(targeted=True),
    "Square": Known(LINF | L2, needs=Access.LOGITS, beyond_gradients=True),
    "SPSA": STEEPEST.but(needs=Access.LOGITS),
    "CW": NEAREST,
    "DeepFool": NEAREST.but(targeted=False),
    "EADL1": NEAREST.but(balls=L1),
    "EADEN": NEAREST.but(balls=L1),
}
_NUMBER_OF_PIXELS = "it counts changed pixels, and there is no such ball"
REFUSED: Mapping[str, str] = {
    "VANILA": "it changes nothing",
    "GN": "its noise has no radius",
    "JSMA": _NUMBER_OF_PIXELS,
    "OnePixel": _NUMBER_OF_PIXELS,
    "Pixle": _NUMBER_OF_PIXELS,
    "SparseFool": _NUMBER_OF_PIXELS,
    "LGV": "it trains networks of its own",
    "MultiAttack": "it joins attacks that are there already; a board takes the worst of several",
}
RADII = ("eps", "max_epsilon")
OURS: Mapping[str, str] = {
    **dict.fromkeys(RADII, "the radius of the ball"),
    "model": "the problem",
    "norm": "that of the ball",
    "seed": "drawn for every example from that of the run",
    "n_classes": "the number of classes of the data",
    "verbose": "off",
}


@dataclass(frozen=True)
class Torchattacks(Foreign):
    """An attack of torchattacks by its name there, with its own arguments: `torchattacks(attack=PGD, steps=20)`."""

    name = "torchattacks"
    reference = "https://arxiv.org/abs/2010.01950"
    library: ClassVar[str] = "torchattacks"
    table = TABLE
    refused = REFUSED
    ours = OURS

    attack: str = field(default="PGD", metadata={"always": True})
    keep: Keep = "returned"
    arguments: tuple[tuple[str, Any], ...] = ()

    def images(self, net: nn.Module, image: Tensor, label: Tensor, given: Given) -> Tensor:
        takes = parameters(self._kind())
        offered = {"norm": given.norm, "seed": given.seed, "n_classes": given.classes}
        offered |= {} if self.known.minimizes else dict.fromkeys(RADII, given.eps)
        arguments = {key: value for key, value in offered.items() if key in takes} | self._arguments()
        return asked(self._kind()(net, **arguments), image, label, targeted=given.targeted)


def asked(attack: Any, images: Tensor, labels: Tensor, *, targeted: bool = False) -> Tensor:
    """Call an attack of the library as its documentation does."""
    if targeted:
        attack.set_mode_targeted_by_label(quiet=True)
    found: Tensor = attack(images, labels)
    return found.detach()
