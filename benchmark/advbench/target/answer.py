"""What a target says about a batch of images, and what several answers of a randomised one amount to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

DRAWS = 9
"""How often a randomised target is asked about every image that is judged: odd, so that two classes never tie."""
COMPANY = 64
"""How many places of the judging order a randomised target is asked about at once: what it draws for an image follows
from the image's place among them, whoever else is judged with it."""
NO_ANSWER = -1
"""The class that NaN, infinity or a refusal stands for: wrong whatever the label, never the class aimed at."""


@dataclass(frozen=True)
class Answer:
    """A target's answers about a batch of images."""

    predicted: Tensor
    confidence: Tensor
    lead: Tensor
    """How far the predicted class's logit is ahead of the next."""
    least_likely: Tensor
    finite: Tensor
    suspicion: Tensor | None

    def __getitem__(self, rows: Tensor) -> Answer:
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        some: dict[str, Any] = {name: None if part is None else part[rows] for name, part in held.items()}
        return replace(self, **some)


def majority(answers: Sequence[Answer]) -> Answer:
    """The class that most draws give, of equals the more confident one, and the middle suspicion."""
    predicted = torch.stack([answer.predicted for answer in answers])
    confidence = torch.stack([answer.confidence for answer in answers])
    same = predicted.unsqueeze(0) == predicted.unsqueeze(1)  # (draw, draw, example)
    # confidences of all draws together count less than half a vote
    support = (same * (1 + confidence / (2 * len(answers)))).sum(1)
    first = support.argmax(0)
    winner = predicted.gather(0, first.unsqueeze(0)).squeeze(0)
    agrees = predicted == winner
    lead = torch.stack([answer.lead for answer in answers])
    suspicions = [answer.suspicion for answer in answers if answer.suspicion is not None]
    return Answer(
        predicted=winner,
        confidence=(agrees * confidence).mean(0),
        lead=torch.where(agrees, lead, -lead).mean(0),
        least_likely=answers[0].least_likely,
        finite=torch.stack([answer.finite for answer in answers]).all(0),
        suspicion=torch.stack(suspicions).median(0).values if suspicions else None,
    )


def in_company(places: Tensor) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Each company: its number, who belongs to it, where they stand in it, and whose image stands in each of its rows.

    Rows of those who are not there are filled up with the first who is.
    """
    numbers = places // COMPANY
    for number in sorted(set(numbers.tolist())):
        who = (numbers == number).nonzero().squeeze(1)
        rows = places[who] % COMPANY
        whose = who[:1].repeat(COMPANY)
        whose[rows] = who
        yield number, who, rows, whose


def assembled(parts: Sequence[tuple[Tensor, Answer]], count: int) -> Answer:
    """One answer from those that concern some of the images each."""

    def whole(name: str) -> Any:
        first = getattr(parts[0][1], name)
        if first is None:
            return None
        combined = first.new_zeros(count)
        for who, answer in parts:
            combined[who] = getattr(answer, name)
        return combined

    return Answer(**{field.name: whole(field.name) for field in fields(Answer)})


@contextmanager
def seeded(purpose: str, device: torch.device) -> Iterator[None]:
    """Torch's own generators, where randomised targets draw, begin at a place named so, and are put back afterwards."""
    seed = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little") >> 1
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` seeds devices that nobody puts back, and slowly
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
