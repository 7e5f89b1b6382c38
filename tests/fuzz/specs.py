"""Calls such as `pgd(steps=40)`: refused in words, or read so that their label means the same."""

from __future__ import annotations

import dataclasses
import re
from random import Random
from typing import Any

from advbench.errors import AdvbenchError
from fuzz.scene import Kind, Scene, reworded

BALLS = (
    *("linf(eps=8/255)", "l2(eps=1.5)", "rotate-shift(degrees=30, pixels=3)", "box", "corruption(eps=0.5)"),
    *("wasserstein(eps=0.1, kernel=5, power=1)", "linf(eps=inf)"),
)


def case(scene: Scene, draw: Random, number: int) -> str:
    kind = draw.choice(("attack", "model", "defense", "dataset", "threat"))
    if kind == "threat":
        text = draw.choice(BALLS)
    else:
        plugin = draw.choice(list(scene.registry.of_kind("data set" if kind == "dataset" else kind).values()))
        text = written(draw, plugin)
    text = reworded(draw, text, re.findall(r"[\w.-]+|\s+|[^\w\s]", text))
    read = getattr(scene.registry, kind)
    try:
        found = read(text)
    except AdvbenchError as error:
        return f"no words for {text[:200]!r}" if not str(error).strip() else ""
    for one in found if isinstance(found, tuple) else (found,):
        label = getattr(one, "label", None)
        if kind != "threat" and isinstance(label, str):
            again = read(label)
            (same,) = again if isinstance(again, tuple) else (again,)
            if same.params() != one.params():
                return f"{text[:200]!r} is read as {label!r}, which is read as {same.label!r}"
        if kind == "threat":
            told = (one.radius, one.family, one.params())
            if "nan" in repr(told).lower():
                return f"{text[:200]!r} is a ball of {told}"
    return ""


def written(draw: Random, plugin: Any) -> str:
    """A call with a few of the plugin's own parameters."""
    fields = [field for field in dataclasses.fields(plugin) if field.init]
    chosen = draw.sample(fields, min(len(fields), draw.randrange(4)))
    return f"{plugin.name}({', '.join(f'{field.name}={getattr(plugin, field.name)}' for field in chosen)})"


KIND = Kind(30_000, case, seconds=10)
