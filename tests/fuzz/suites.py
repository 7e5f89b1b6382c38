"""Suites with words other, gone or elsewhere: planned, or refused in words."""

from __future__ import annotations

import re
from random import Random

from fuzz.scene import SUITE, Kind, Scene, bent, reworded

MORE = """\
data: toy-blots
seed: 3
stop: end
fit: calibrate
budget: 100
timeout: 60
false_positive_rate: 0.1
goals: [untargeted, each]
models: [toy, {toy: {seed: 2}}]
defenses: [none, toy-doubting]
attacks: [pgd(steps=3), {pgd: {steps: 4, restarts: 2}}]
threats:
  - linf: {eps: 8/255, examples: 5, attacks: [noise], required: [noise]}
  - wasserstein(eps=0.1, kernel=3)
  - "rotate-shift(degrees=10, pixels=1)"
"""


def case(scene: Scene, draw: Random, number: int) -> str:
    text = draw.choice((SUITE, MORE))
    if draw.random() < 0.2:
        data = bent(draw, text.encode())
    else:
        changed = reworded(draw, text, re.findall(r"\w+|\s+|[^\w\s]", text))
        data = changed.encode("utf-8", "surrogatepass")
    path = scene.place("suite") / "mine.yaml"
    path.write_bytes(data)
    ended = scene.advbench("plan", path)
    return f"{ended.improper}: {data[:500]!r}" if ended.improper else ""


KIND = Kind(3_000, case)
