"""The corruptions by name, in the order of their numbers: a new one goes to the end, stored ones keep their meaning."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from advbench.draws import Draws
from advbench.threats.corruptions.edges import canny
from advbench.threats.corruptions.jpeg import jpeg
from advbench.threats.corruptions.strokes import dotted_line, line, zigzag
from advbench.threats.corruptions.tones import blur, contrast, inverse, noise, quantize, saturate
from advbench.threats.corruptions.warps import elastic, rotate, shear
from advbench.threats.corruptions.weather import fog, frost, spatter

Kind = Callable[[Tensor, Tensor, Draws], Tensor]
"""Images (N, C, H, W) and severities (N, 1, 1, 1) in float64, and draws of each image's own; what is above 1 is cut."""

KINDS: dict[str, Kind] = {
    "noise": noise,
    "blur": blur,
    "line": line,
    "dotted-line": dotted_line,
    "elastic": elastic,
    "saturate": saturate,
    "jpeg": jpeg,
    "quantize": quantize,
    "shear": shear,
    "spatter": spatter,
    "rotate": rotate,
    "contrast": contrast,
    "inverse": inverse,
    "canny": canny,
    "fog": fog,
    "frost": frost,
    "zigzag": zigzag,
}

NAMES: tuple[str, ...] = tuple(KINDS)
