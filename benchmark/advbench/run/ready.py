"""One target made ready: weights, defenses, the detector's threshold, the clean pass; and its rows in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from advbench.data import Data, Examples
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset
from advbench.plugins.given import refuse_given_model
from advbench.plugins.registry import Registry
from advbench.plugins.values import configure
from advbench.run.keys import target_says
from advbench.run.session import Session
from advbench.store.rows import CertificateRow, CleanRow, TargetRow
from advbench.target.clean import CleanPass, clean_pass
from advbench.target.identity import TargetPlan
from advbench.target.target import Target, prepare
from advbench.weights.weights import FoundWeights, find_weights, obtain_weights

TrainingProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class Ready:
    """A target with its answers on the clean images of everything that will be judged."""

    target: Target
    clean: CleanPass
    examples: Examples
    places: Tensor
    """Those of the examples in the order of judging."""

    @property
    def key(self) -> str:
        return self.target.key


def origins_of(registry: Registry, plan: TargetPlan) -> dict[str, Any]:
    """Who shipped the parts of a target, in which version and with which source."""
    return {
        "model": asdict(registry.origin(plan.model)),
        "defenses": [asdict(registry.origin(defense)) for defense in plan.defenses],
        "dataset": asdict(registry.origin(plan.dataset)),
    }


@dataclass(frozen=True)
class Workshop:
    """Makes targets ready: from whose plugins, on which device, at which rate of a detector's false alarms."""

    registry: Registry
    device: torch.device
    false_positive_rate: float | None
    """None where no target of theirs has a detector."""
    thresholds: MutableMapping[str, float] | None = None
    """Of detectors that were set before, by their targets' keys; what is set here is added."""

    @classmethod
    def of(cls, session: Session) -> Workshop:
        settings = session.settings
        return cls(session.registry, settings.device, session.suite.false_positive_rate, settings.thresholds)

    def ready(
        self, plan: TargetPlan, data: Data, examples: Examples, progress: TrainingProgress | None = None
    ) -> tuple[Ready, TargetRow]:
        """The target, and the row that describes it in the store."""
        weights = obtain_weights(plan, data, device=self.device, progress=progress)
        origins = origins_of(self.registry, plan)
        target = prepare(
            plan,
            data,
            weights.net,
            weights_sha256=weights.sha256,
            origins=origins,
            false_positive_rate=self.false_positive_rate,
            device=self.device,
            thresholds=self.thresholds,
        )
        row = _target_row(plan, target, data, weights, origins, self.false_positive_rate)
        places = data.judge.places(examples.ids)
        return Ready(target, clean_pass(target, examples, self.device, places), examples, places), row


def _target_row(
    plan: TargetPlan,
    target: Target,
    data: Data,
    weights: FoundWeights,
    origins: Mapping[str, Any],
    false_positive_rate: float | None,
) -> TargetRow:
    return TargetRow(
        key=target.key,
        **target_says(plan),
        data_fingerprint=data.judge.fingerprint,
        origins=dict(origins),
        weights_sha256=weights.sha256,
        recipe=weights.recipe.params() if weights.recipe else None,
        threshold=target.threshold,
        false_positive_rate=false_positive_rate if target.detector else None,
        randomised=int(target.draws > 1),
        draws=target.draws,
    )


def stored_plan(row: TargetRow, dataset: Dataset, registry: Registry) -> TargetPlan:
    """Who a stored target is made of: by every parameter, since a label leaves out what has another default."""
    params = row.params
    refuse_given_model(row.label, params["model"])
    model = configure(registry.model(row.model), params["model"])
    chain = registry.defense(row.defenses)
    if len(chain) != len(params["defenses"]):
        raise AdvbenchError(f"{len(params['defenses'])} defenses have parameters, and {len(chain)} are named")
    defenses = tuple(configure(one, given) for one, given in zip(chain, params["defenses"], strict=True))
    return TargetPlan(dataset, model, defenses)


def find_target(row: TargetRow, plan: TargetPlan, data: Data, *, device: torch.device) -> tuple[Target, TargetRow]:
    """A stored target rebuilt from weights that are on this machine, and its row as it comes out here.

    Nothing is trained. `plan` is its `stored_plan`; who shipped its parts is taken as stored.
    """
    weights = find_weights(plan, data)
    if weights is None:
        raise AdvbenchError("its weights are not on this machine; `advbench train` makes them, or copy them here")
    if weights.sha256 != row.weights_sha256:
        raise AdvbenchError(
            f"the weights here ({weights.sha256[:12]}) are not those that were judged ({row.weights_sha256[:12]})"
        )
    target = prepare(
        plan,
        data,
        weights.net,
        weights_sha256=weights.sha256,
        origins=row.origins or {},
        false_positive_rate=row.false_positive_rate,
        device=device,
    )
    return target, _target_row(plan, target, data, weights, row.origins or {}, row.false_positive_rate)


def doubts(ready: Ready) -> list[tuple[str, str]]:
    """What a reader must know of a target before believing a number: kind and reason."""
    notes = []
    if ready.target.draws > 1:
        way = f"judged by the class that most of {ready.target.draws} draws give"
        notes.append(("randomised", f"asked twice about the same images, it gave two answers; {way}"))
    if broken := int((~ready.clean.finite).sum()):
        notes.append(("not finite", f"NaN or infinity on {broken} of {len(ready.examples)} clean images"))
    return notes


def clean_rows(ready: Ready) -> list[CleanRow]:
    clean = ready.clean
    suspicion = clean.suspicion.tolist() if clean.suspicion is not None else [None] * len(ready.examples)
    rows = zip(
        ready.examples.ids.tolist(),
        ready.examples.labels.tolist(),
        clean.predicted.tolist(),
        clean.confidence.tolist(),
        suspicion,
        strict=True,
    )
    return [CleanRow(*row) for row in rows]


def certificate_rows(ready: Ready) -> list[CertificateRow]:
    """What is proved of each clean image; nothing where the target proves nothing."""
    if ready.clean.certified is None or ready.target.certifier is None:
        return []
    predicted, radius = ready.clean.certified
    family = ready.target.certifier[0].certifies
    rows = zip(ready.examples.ids.tolist(), predicted.tolist(), radius.tolist(), strict=True)
    return [CertificateRow(example, family, label, proved) for example, label, proved in rows]
