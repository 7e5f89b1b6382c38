"""The same perturbation once more, a little changed: is it stable? (D'Costa, section 5.1, figures 14 to 16.)

There one perturbation is put on the image with noise on top, on the image flipped, on another image; here that is
done with every perturbation of a stored cell. The noise is uniform from 0 to 7 times the perturbation, so that it
needs a board of 8 times the radius to fit in; `noise-alone` is the same noise without the perturbation. A flipped image
with a perturbation is, seen in a mirror, the image with the flipped perturbation: this one is judged, since a ball lies
around the image itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Geometry, Problem, at_least, one_of
from advbench_attacks.transfer import Again, where


@dataclass(frozen=True)
class Repeat(Again):
    name = "repeat"
    geometry = Geometry.PIXELS

    under: str = one_of("noise", "noise-alone", "flip", "image")
    noise: float = at_least(0, default=7.0)  # in units of the largest change of a pixel

    def perturb(self, problem: Problem) -> Tensor:
        ids, stored = self.stored(problem)
        place, known = where(problem.draws.ids, ids)
        if self.under == "image":
            place, known = _another(problem, place, known, len(stored))
        p = problem.start()
        p[known] = stored[place[known]]
        if self.under == "flip":
            p = p.flip(-1)
        if self.under in ("noise", "noise-alone"):
            largest = p.flatten(1).abs().amax(1)[:, None, None, None]
            noise = self.noise * largest * problem.draws.uniform(*p.shape[1:], dtype=p.dtype)
            p = p + noise if self.under == "noise" else noise
        return problem.project(p)


def _another(problem: Problem, place: Tensor, known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The place of a perturbation of another example, drawn at random."""
    if count < 2:
        return place, torch.zeros_like(known)
    others = place + 1 + problem.draws.integers(count - 1)
    anyone = problem.draws.integers(count)
    return torch.where(known, others % count, anyone), torch.ones_like(known)
