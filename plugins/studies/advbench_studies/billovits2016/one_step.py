"""Photos before and after one step along the sign of the gradient: labels, confidences, kinds, by clean confidence.

The referee gives a photo that is wrong when clean to every attack for nothing. The paper attacks those, too, and calls
what becomes right again benign; so this analysis takes the step itself, from the loss against the true label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench import Analysis, Finding, Findings, Inputs, Material, Series, Wanted, mean, share
from advbench_studies.billovits2016.kinds import KINDS, confused_with, kind_of

EPS = 0.85 / 255
BINS = ((0.0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0))
"""Of the confidence in the clean photo; the paper speaks of 30 to 50 percent as moderate."""
TENTHS = tuple((place / 10, (place + 1) / 10) for place in range(10))
SURE = 0.5
"""High confidence, in the paper."""
TOGETHER = 8
SECOND_BEST = "largest second-best probability where changed above 50 %"


@dataclass(frozen=True)
class Answers:
    """What a network says of images before and after."""

    labels: Tensor
    clean: Tensor
    """Probabilities (N, classes), as are those after the step."""
    moved: Tensor

    @property
    def before(self) -> Tensor:
        return self.clean.argmax(1)

    @property
    def after(self) -> Tensor:
        return self.moved.argmax(1)

    @property
    def confidence(self) -> Tensor:
        return self.clean.amax(1)

    @property
    def changed(self) -> Tensor:
        return self.before != self.after

    @property
    def surely_changed(self) -> Tensor:
        return self.changed & (self.moved.amax(1) > SURE)


@dataclass(frozen=True)
class OneStep(Analysis):
    """What one step of the attack does to a network's answers."""

    name = "one-step"

    dataset: str = "imagenet-samples"
    model: str = "efficientnet-lite0"
    eps: float = EPS
    count: int = 100

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.dataset, self.model)

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(self.wanted,), data=(self.dataset,))

    def find(self, material: Material) -> Findings:
        answers = self.answers(material)
        near = confused_with(last_weights(material.target(self.dataset, self.model).net))
        kinds = [
            kind_of(answers.labels[i], answers.clean[i], answers.moved[i], near) for i in range(len(answers.labels))
        ]
        return Findings(numbers=(*_rates(answers), *_kinds(kinds), *_by_confidence(answers))) + Findings(
            series=_histograms(answers)
        )

    def answers(self, material: Material) -> Answers:
        net = material.target(self.dataset, self.model).net
        examples = material.data(self.dataset).judge[: self.count]
        clean, moved = [], []
        for first in range(0, len(examples), TOGETHER):
            some = examples[first : first + TOGETHER]
            images, labels = some.pixels(material.device), some.labels.to(material.device)
            stepped = step(net, images, labels, self.eps)
            with torch.no_grad():
                clean.append(net(images).softmax(1).cpu())
                moved.append(net(stepped).softmax(1).cpu())
            material.progress(first / len(examples), f"{first} of {len(examples)} images")
        return Answers(examples.labels, torch.cat(clean), torch.cat(moved))


def step(net: torch.nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Equation 1 of the paper; pixels stay between 0 and 1."""
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(x), labels, reduction="sum"), x)
    return (images + eps * gradient.sign()).clamp(0, 1)


def last_weights(net: torch.nn.Module) -> Tensor:
    """Of the last linear layer: a row for every class."""
    layers = [module for module in net.modules() if isinstance(module, torch.nn.Linear)]
    return layers[-1].weight.detach().cpu()


def _rates(answers: Answers) -> list[Finding]:
    n = len(answers.labels)
    right = answers.before == answers.labels
    sure = answers.surely_changed
    second = 100 * answers.moved.topk(2, dim=1).values[:, 1]
    return [
        Finding("images attacked", float(n), n=n, unit="images"),
        share("right when clean", int(right.sum()), n),
        share("changed", int(answers.changed.sum()), n),
        share("changed, above 50 %", int(sure.sum()), n),
        share("wrong after the step", int((answers.after != answers.labels).sum()), n),
        Finding("count changed, above 50 %", float(sure.sum()), n=n, unit="images"),
        mean("second-best probability where changed above 50 %", second[sure].tolist(), "percent"),
        _largest(SECOND_BEST, second[sure].tolist()),
        share("second-best below 25 % where changed above 50 %", int((second[sure] < 25).sum()), int(sure.sum())),
        mean("confidence after, where changed", (100 * answers.moved.amax(1)[answers.changed]).tolist(), "percent"),
    ]


def _largest(name: str, values: Sequence[float]) -> Finding:
    return Finding(name, max(values, default=None), n=len(values), unit="percent")


def _kinds(kinds: Sequence[str]) -> list[Finding]:
    changed = [kind for kind in kinds if kind]
    return [share(f"{kind} of those that changed", changed.count(kind), len(changed)) for kind in KINDS]


def _by_confidence(answers: Answers) -> list[Finding]:
    found = []
    for low, high in BINS:
        inside = between(answers.confidence, low, high)
        n = int(inside.sum())
        found.append(share(changed_at(low, high), int((inside & answers.changed).sum()), n))
        found.append(share(surely_changed_at(low, high), int((inside & answers.surely_changed).sum()), n))
    return found


def between(confidence: Tensor, low: float, high: float) -> Tensor:
    return (confidence >= low) & ((confidence < high) | (high >= 1.0))


def changed_at(low: float, high: float) -> str:
    """The name of the share that changed among images of such a clean confidence."""
    return f"changed, clean confidence {100 * low:.0f} to {100 * high:.0f} %"


def surely_changed_at(low: float, high: float) -> str:
    return f"changed above 50 %, clean confidence {100 * low:.0f} to {100 * high:.0f} %"


def _histograms(answers: Answers) -> tuple[Series, ...]:
    """Figure 6: the clean confidences of images with a sure, with some, and without an adversarial counterpart."""
    groups: Mapping[str, Tensor] = {
        "(a) changed above 50 %": answers.surely_changed,
        "(b) changed": answers.changed,
        "(c) not changed": ~answers.changed,
    }
    return tuple(
        Series.of(
            name,
            [
                (100 * (low + high) / 2, int((group & between(answers.confidence, low, high)).sum()))
                for low, high in TENTHS
            ],
        )
        for name, group in groups.items()
    )
