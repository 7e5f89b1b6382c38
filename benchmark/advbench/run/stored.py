"""Stored perturbations, back as tensors: what `verify`, `export` and late judging start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.data import Data, DataFolders, Examples
from advbench.errors import AdvbenchError
from advbench.goal import Goal
from advbench.plugin import Dataset
from advbench.plugins import data_intake
from advbench.plugins.given import refuse_given_images
from advbench.plugins.registry import Registry
from advbench.plugins.spec import parse_chain
from advbench.plugins.values import configure
from advbench.store import Store
from advbench.store.rows import BallRow, CellRow
from advbench.target.identity import target_label
from advbench.threats import Threat
from advbench.threats.shared import Shared


@dataclass(frozen=True)
class StoredShard:
    """One shard of a cell: the clean examples, the perturbations, and what they aimed at."""

    number: int
    examples: Examples
    x: Tensor
    p: Tensor
    goal: Goal
    places: Tensor
    """Those of the examples in the order of judging."""


class UnknownPartError(AdvbenchError):
    """What a row was made with is not installed here, so nothing can be derived from it."""


def threat_of(row: BallRow, registry: Registry) -> Threat:
    """The ball of a cell or a board."""
    return _described(row, _kind(row, registry))


def crafted_in(cell: CellRow, registry: Registry) -> Threat:
    """The ball that a cell was crafted in; a shared one where its perturbation was fitted on a set."""
    return stored_ball(cell, _kind(cell, registry))


def stored_ball(cell: CellRow, kind: type[Threat]) -> Threat:
    """The ball of this class that a cell was crafted in."""
    ball = _described(cell, kind)
    return Shared.of(ball) if cell.fit else ball


def _kind(row: BallRow, registry: Registry) -> type[Threat]:
    try:
        return registry.threat_type(row.threat)
    except AdvbenchError as error:
        raise UnknownPartError(f"{row.key[:12]}: {error}") from error


def _described(row: BallRow, kind: type[Threat]) -> Threat:
    params = {name: float("inf") if value == "inf" else value for name, value in (row.params or {}).items()}
    return configure(kind, params, f"cell {row.key[:12]}")


def load_dataset(registry: Registry, folders: DataFolders, label: str, fingerprint: str) -> tuple[Dataset, Data]:
    """The data set by its label, refused when its images are not those that were judged."""
    dataset = dataset_named(registry, label)
    data = data_intake.load(dataset, folders)
    refuse_others(label, data, fingerprint)
    return dataset, data


def dataset_named(registry: Registry, label: str) -> Dataset:
    if label not in registry.datasets:
        refuse_given_images(label)
    return registry.dataset(label)


def refuse_others(label: str, data: Data, fingerprint: str) -> None:
    if data.judge.fingerprint != fingerprint:
        raise AdvbenchError(
            f"{label} from {data.source or 'here'} is not the data that this database judged "
            f"({data.judge.fingerprint[:12]} instead of {fingerprint[:12]}); point --data at the same copy"
        )


def target_named(registry: Registry, text: str) -> str:
    """The label of the target that a text spells as `run` would take it; the text itself where that can't be read.

    `small-cnn + adversarial-training(epochs=1.0)` is `small-cnn+adversarial-training`.
    """
    try:
        model, *defenses = (call.label for call in parse_chain(text))
        return target_label(registry.model(model), registry.defense("+".join(defenses)) if defenses else ())
    except AdvbenchError:  # a target of `evaluate`, or of a plugin that is not here
        return text


def packed_part(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """What the threat packed, without what the run stored beside it."""
    return {name.removeprefix("p."): part.to(device) for name, part in tensors.items() if name.startswith("p.")}


def unpacked(threat: Threat, x: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """The perturbations of these images; a ValueError where the tensors are of others, or of nothing."""
    one = threat.identity(x[:1])
    if len(x) * one.numel() * one.element_size() > LARGEST:
        raise ValueError(f"perturbations of more than {LARGEST >> 30} GiB")
    p = threat.unpack(x, packed_part(tensors, torch.device("cpu"))).to(x.device)
    due = threat.identity(x)
    if p.shape != due.shape or p.dtype != due.dtype:
        raise ValueError(f"{p.dtype} of shape {tuple(p.shape)} for images {tuple(x.shape)}")
    return p


LARGEST = 8 << 30
"""Bytes of the perturbations of a shard, unpacked: what a few bytes may claim to be."""


def _numbers(tensors: Mapping[str, Tensor], name: str, most: int) -> Tensor:
    """A row of whole numbers, and no more of them than there can be."""
    found = tensors[name]
    if found.dtype != torch.int64 or found.ndim != 1 or len(found) > most:
        raise ValueError(f"{name}: {found.dtype} of shape {tuple(found.shape)} instead of {most} numbers")
    return found


def stored_shards(
    store: Store, cell: CellRow, threat: Threat, judge: Examples, device: torch.device
) -> Iterator[StoredShard]:
    """A cell's shards in order; `threat` is its ball, `judge` are the data set's examples to judge."""
    place = {example: row for row, example in enumerate(judge.ids.tolist())}
    for number, row in sorted(store.shards(cell.key).items()):
        tensors = store.artifacts.get(row.artifact)
        try:
            ids = _numbers(tensors, "example", row.count)
            if len(set(ids.tolist())) < len(ids):
                raise ValueError("an example twice")
            rows = torch.tensor([place[example] for example in ids.tolist()], dtype=torch.int64)
            examples = judge[rows]
            x = examples.pixels(device)
            p = unpacked(threat, x, tensors)
            goal_labels = _numbers(tensors, "goal_label", len(x)).to(device)
            if len(goal_labels) != len(x):
                raise ValueError(f"{len(goal_labels)} goals for {len(x)} images")
        except AdvbenchError:
            raise
        except Exception as error:  # a stranger's tensors may make our code stumble anywhere
            raise AdvbenchError(
                f"cell {cell.key[:12]}, shard {number}: artifact {row.artifact[:12]} does not hold perturbations "
                f"of these images ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
            ) from error
        yield StoredShard(number, examples, x, p, Goal(goal_labels, cell.goal != "untargeted"), rows)
