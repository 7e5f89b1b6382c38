"""A trained model behind its defenses, ready to answer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advbench.access import Access
from advbench.compatibility import offered
from advbench.data import Data
from advbench.errors import AdvbenchError, PluginError
from advbench.passes import BatchSize, run_in_batches
from advbench.plugin import Dataset, Defense, Model
from advbench.protocol import PROTOCOL

NO_ANSWER = -1
"""The class that NaN or infinity among the logits stands for: wrong whatever the label, never the class aimed at."""


@dataclass(frozen=True)
class Answer:
    """What a target says about a batch of images."""

    predicted: Tensor
    confidence: Tensor
    lead: Tensor
    """How far the predicted class's logit is ahead of the next."""
    least_likely: Tensor
    finite: Tensor
    suspicion: Tensor | None


@dataclass
class Target:
    """A network that answers with logits and, behind a detector, with suspicion."""

    key: str
    label: str
    model: Model
    defenses: tuple[Defense, ...]
    dataset: Dataset
    net: nn.Module
    detector: tuple[Defense, nn.Module] | None
    threshold: float | None
    access: Access
    weights_sha256: str
    steady: dict[int, bool] = field(default_factory=dict, repr=False)
    """Batch sizes that were tried, and whether numbers are the same at them; see `steadiness`."""

    @property
    def classes(self) -> int:
        return self.dataset.classes

    @property
    def defenses_label(self) -> str:
        return chain_label(self.defenses)

    def logits(self, images: Tensor) -> Tensor:
        logits = self.net(images)
        if not isinstance(logits, Tensor) or logits.shape != (len(images), self.classes):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise PluginError(f"{self.label}: answered {got} for {len(images)} images of {self.classes} classes")
        return logits

    def suspicion(self, images: Tensor) -> Tensor:
        if self.detector is None:
            raise PluginError(f"{self.label} does not detect")
        defense, net = self.detector
        score = defense.suspicion(net, images)
        if score.shape != (len(images),):
            raise PluginError(f"{defense.label}: `suspicion` answered {tuple(score.shape)} for {len(images)} images")
        return score

    def answer(self, images: Tensor, batch: BatchSize) -> Answer:
        """Everything the referee wants to know, in padded batches."""
        logits = run_in_batches(self.logits, images, batch).float()
        finite = logits.isfinite().all(1)
        logits = torch.where(finite.view(-1, 1), logits, 0.0)
        top = logits.topk(min(2, logits.shape[1]), dim=1)
        suspicion = run_in_batches(self.suspicion, images, batch).float() if self.detector else None
        return Answer(
            predicted=torch.where(finite, logits.argmax(1), NO_ANSWER),
            confidence=torch.where(finite, logits.softmax(1).amax(1), 0.0),
            lead=top.values[:, 0] - top.values[:, -1],
            least_likely=logits.argmin(1),
            finite=finite if suspicion is None else finite & suspicion.isfinite(),
            suspicion=suspicion,
        )


def chain_label(defenses: tuple[Defense, ...]) -> str:
    return "+".join(defense.label for defense in defenses)


def target_label(model: Model, defenses: tuple[Defense, ...]) -> str:
    """`small-cnn`, `small-cnn+adversarial-training`; `none` goes without saying, and so does a file's folder."""
    brief = replace(model, weights=Path(model.weights).name) if Path(model.weights).name != model.weights else model
    return "+".join([brief.label, *(d.label for d in defenses if d.name != "none")])


def prepare(
    model: Model,
    defenses: tuple[Defense, ...],
    dataset: Dataset,
    data: Data,
    net: nn.Module,
    *,
    weights_sha256: str,
    origins: Mapping[str, Any],
    false_positive_rate: float,
    device: torch.device,
) -> Target:
    """Freeze the network, put the defenses in front of it, and set the detector's threshold on held-out clean data."""
    net = _freeze(net, device)
    detector: tuple[Defense, nn.Module] | None = None
    for defense in defenses:
        wrapped = _freeze(defense.wrap(net, data.calibrate), device)
        if defense.detects:
            if detector is not None:
                raise AdvbenchError(f"{target_label(model, defenses)}: two detectors; keep one of them")
            detector = (defense, net)
        net = wrapped
    identity = {
        "model": model.name,
        "model parameters": {k: v for k, v in model.params().items() if k != "weights"},
        "defenses": [[d.name, d.params()] for d in defenses],
        "origins": dict(origins),
        "weights": weights_sha256,
        "judge": data.judge.fingerprint,
        "calibrate": data.calibrate.fingerprint,
        "false positive rate": false_positive_rate if detector else None,
        "protocol": PROTOCOL,
    }
    target = Target(
        key=content_key(identity),
        label=target_label(model, defenses),
        model=model,
        defenses=defenses,
        dataset=dataset,
        net=net,
        detector=detector,
        threshold=None,
        access=offered(model, defenses),
        weights_sha256=weights_sha256,
    )
    if detector:
        target.threshold = calibrate(target, data, false_positive_rate, device)
    return target


def calibrate(target: Target, data: Data, false_positive_rate: float, device: torch.device) -> float:
    """The smallest seen suspicion that at most the given share of held-out clean images exceeds."""
    if len(data.calibrate) == 0:
        raise AdvbenchError(f"{target.label}: no held-out images to set the detector's threshold on")
    scores = torch.cat(
        [
            run_in_batches(target.suspicion, data.calibrate[first : first + 1024].pixels(device), BatchSize(64)).cpu()
            for first in range(0, len(data.calibrate), 1024)
        ]
    )
    if not scores.isfinite().all():
        raise PluginError(f"{target.label}: suspicion of clean images is not finite")
    place = math.ceil((1 - false_positive_rate) * len(scores)) - 1
    return float(scores.sort().values[max(0, place)])


def content_key(identity: Mapping[str, Any]) -> str:
    """A hash of everything that was named, written in one way only."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _freeze(net: nn.Module, device: torch.device) -> nn.Module:
    """Evaluation mode and no parameter gradients: an attack wants the input's gradient alone (-18 to -34 % a pass)."""
    return net.to(device).eval().requires_grad_(False)
