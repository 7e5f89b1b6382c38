"""What every example of a stored cell had to aim at, so that none can be left out or sent elsewhere unseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from advbench.audit.claims import Known
from advbench.draws import Draws
from advbench.goal import choose_labels
from advbench.problem.batches import BatchSize, run_in_batches
from advbench.run.boards import judged_examples
from advbench.run.ready import Ready
from advbench.store.rows import CellRow
from advbench.target.referee import BATCH

NEAR = 5e-3
"""Classes whose logits lie so close together, relative to their spread, may change places on another machine."""


@dataclass(frozen=True)
class Aims:
    """Labels that the goal may have asked for, by example of the cell's set; None stands for being left out."""

    allowed: Mapping[int, frozenset[int | None]]

    @classmethod
    def of(
        cls, cell: CellRow, known: Known, source: Ready | None, device: torch.device, drawn: int | None
    ) -> Self | None:
        """None where only the source could tell, and it is not here or never answers twice the same; or for want of a
        seed. `drawn` is the seed by which its examples were drawn, if they were.
        """
        dataset, data = known
        examples = judged_examples(data, cell.count, dataset, drawn)
        ids, labels = examples.ids.tolist(), examples.labels.long()
        if cell.goal == "least-likely":
            return cls._unlikely(ids, labels.tolist(), source, device)
        if cell.seed is None:
            return None
        draws = Draws(cell.seed, f"goal/{cell.goal}", examples.ids)
        chosen, applies = choose_labels(cell.goal, labels, labels, dataset.classes, draws)
        rows = zip(ids, chosen.tolist(), applies.tolist(), strict=True)
        return cls({example: frozenset([label if wanted else None]) for example, label, wanted in rows})

    @classmethod
    def _unlikely(cls, ids: list[int], labels: list[int], source: Ready | None, device: torch.device) -> Self | None:
        if source is None or not source.target.repeats:
            return None
        place = {example: row for row, example in enumerate(source.examples.ids.tolist())}
        if not set(ids) <= place.keys():
            return None
        rows = torch.tensor([place[example] for example in ids], dtype=torch.int64)
        classes = [{label} for label in source.clean.least_likely[rows].tolist()]
        if source.target.draws == 1:
            classes = [one | other for one, other in zip(classes, _as_unlikely(source, rows, device), strict=True)]
        return cls(
            {
                example: frozenset(None if label == own else label for label in unlikely)
                for example, own, unlikely in zip(ids, labels, classes, strict=True)
            }
        )

    def wrong(self, ids: Sequence[int], labels: Sequence[int]) -> str:
        """In words, where some of a shard's examples aim at what their goal does not ask for."""
        if all(label in self.allowed.get(example, ()) for example, label in zip(ids, labels, strict=True)):
            return ""
        return "the labels aimed at are not those that the goal asks for"

    def missing(self, seen: Iterable[int]) -> set[int]:
        """Examples that had to be attacked, and that nobody has."""
        return {example for example, labels in self.allowed.items() if None not in labels} - set(seen)


def _as_unlikely(source: Ready, rows: torch.Tensor, device: torch.device) -> list[set[int]]:
    """For each example, the classes that another machine might find least likely."""
    classes: list[set[int]] = []
    for first in range(0, len(rows), BATCH):
        images = source.examples[rows[first : first + BATCH]].pixels(device)
        logits = run_in_batches(source.target.logits, images, BatchSize(BATCH)).float().cpu()
        lowest, highest = logits.amin(1, keepdim=True), logits.amax(1, keepdim=True)
        # comparisons with NaN are false, so that such a row stays empty; its class comes from the pass itself
        classes += [set(row.nonzero().flatten().tolist()) for row in logits - lowest <= NEAR * (highest - lowest)]
    return classes
