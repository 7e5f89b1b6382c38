"""Who a target is: its parts, the name that follows from them, and the key of everything that can change an answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advbench import revisions
from advbench.plugin import Dataset, Defense, Model
from advbench.plugins.origin import identity
from advbench.protocol import FIRST, PROTOCOL, SECOND
from advbench.target.answer import COMPANY


@dataclass(frozen=True)
class TargetPlan:
    """A model behind defenses, on a data set."""

    dataset: Dataset
    model: Model
    defenses: tuple[Defense, ...] = ()

    @property
    def label(self) -> str:
        return target_label(self.model, self.defenses)


def chain_label(defenses: tuple[Defense, ...]) -> str:
    return "+".join(defense.label for defense in defenses)


def target_label(model: Model, defenses: tuple[Defense, ...]) -> str:
    """`small-cnn`, `small-cnn+adversarial-training`; `none` goes without saying, and so does a file's folder."""
    brief = replace(model, weights=Path(model.weights).name) if Path(model.weights).name != model.weights else model
    return "+".join([brief.label, *(d.label for d in defenses if d.name != "none")])


@dataclass(frozen=True)
class TargetIdentity:
    """Everything that can change a target's answers."""

    plan: TargetPlan
    origins: Mapping[str, Any]
    """Who shipped its parts, in which version and with which source."""
    weights_sha256: str
    judge: str
    """The fingerprint of the images that are judged."""
    calibrate: str
    """The fingerprint of the held-out images, on which a detector's threshold is set."""
    false_positive_rate: float | None = None
    """None without a detector."""
    draws: int = 1
    protocol: int = PROTOCOL

    @property
    def key(self) -> str:
        model, defenses = self.plan.model, self.plan.defenses
        chance = {"draws": self.draws, **({"company": COMPANY} if self.protocol > FIRST else {})}
        return content_key(
            {
                "model": model.name,
                "model parameters": {k: v for k, v in model.params().items() if k != "weights"},
                "defenses": [[d.name, d.params()] for d in defenses],
                **self._made_with(),
                "weights": self.weights_sha256,
                "judge": self.judge,
                "calibrate": self.calibrate,
                "false positive rate": self.false_positive_rate,
                "protocol": self.protocol,
                **(chance if self.draws > 1 else {}),
            }
        )

    def _made_with(self) -> dict[str, Any]:
        """What the key takes in of the sources of the parts and of the core."""
        if self.protocol <= SECOND:
            return {"origins": dict(self.origins)}
        sources = {
            part: [identity(one) for one in origin] if part == "defenses" else identity(origin)
            for part, origin in self.origins.items()
        }
        return {"origins": sources, **revisions.in_key(revisions.TARGET)}


def content_key(content: Mapping[str, Any]) -> str:
    """A hash of everything that is named, written in one way only."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
