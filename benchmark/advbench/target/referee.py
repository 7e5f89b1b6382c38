"""The referee: whatever an attack claims, this decides.

It renders the image from the perturbation, measures both, and asks the target afresh in batches of one fixed size.
It shares no state with the attack.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.goal import Goal
from advbench.problem.batches import BatchSize
from advbench.target.target import Target
from advbench.threats import Threat
from advbench.threats.membership import BOX_TOLERANCE, Membership, measure

BATCH = 64
"""The referee's own padded size: a part of the protocol, so that verdicts don't depend on `--batch-size`."""


@dataclass(frozen=True)
class Rendered:
    """Perturbations rendered and measured once, to be judged on any number of targets."""

    images: Tensor
    """Clipped to [0, 1] by what the tolerance lets through."""
    member: Membership


@dataclass(frozen=True)
class Verdict:
    """The facts about one example of one cell on one target."""

    reached: bool
    predicted: int
    confidence: float
    suspicion: float | None
    size: float
    violation: str | None
    excess: float | None
    tolerance: float

    @property
    def fooled(self) -> bool:
        return self.reached and self.violation is None


def render(threat: Threat, x: Tensor, p: Tensor) -> Rendered:
    """Measured in float64: the tolerance is for the attack's rounding, not for ours."""
    with torch.no_grad():
        images = threat.apply(x, p)
        return Rendered(images.clamp(0, 1), measure(threat, x.double(), p.double(), images.double()))


def judge(target: Target, rendered: Rendered, goal: Goal, places: Tensor | None = None) -> list[Verdict]:
    """One verdict per example; `places` are theirs in the order of judging, 0, 1, … where nothing is said."""
    if len(rendered.images) == 0:  # a shard of examples that the goal does not apply to
        return []
    answers = target.answer(rendered.images, BatchSize(BATCH), places)
    reached = goal.reached(answers.predicted)
    member = rendered.member
    rows = zip(
        reached.tolist(),
        answers.predicted.tolist(),
        answers.confidence.tolist(),
        answers.suspicion.tolist() if answers.suspicion is not None else [None] * len(reached),
        member.size.tolist(),
        member.beyond_ball.tolist(),
        member.beyond_box.tolist(),
        member.beyond_coordinates.tolist(),
        strict=True,
    )
    verdicts = []
    for hit, predicted, confidence, suspicion, size, ball, box, coordinates in rows:
        violation, excess, tolerance = None, None, member.tolerance
        if not coordinates <= member.coordinate_tolerance:
            violation, excess = "not a perturbation of this ball", coordinates
        elif not ball <= member.tolerance:
            violation, excess = "outside the ball", ball
        elif not box <= BOX_TOLERANCE:
            violation, excess, tolerance = "outside [0, 1]", box, BOX_TOLERANCE
        verdicts.append(Verdict(hit, predicted, confidence, suspicion, size, violation, excess, tolerance))
    return verdicts
