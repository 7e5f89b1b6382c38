"""One stored cell refereed from scratch: shards, perturbations, pictures and verdicts, held against what is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from advbench.audit.agreement import Agreement, lopsided
from advbench.audit.aims import Aims
from advbench.audit.claims import Known
from advbench.audit.first_protocol import first_ball
from advbench.errors import TimeUpError, one_line
from advbench.protocol import FIRST
from advbench.run.exhibits import exhibits, shown_of, unlike
from advbench.run.ready import Ready
from advbench.run.stored import StoredShard, stored_shards
from advbench.store import Store
from advbench.store.rows import CellRow, ExhibitRow, OutcomeRow
from advbench.target.referee import Rendered, Verdict, judge, render
from advbench.target.target import Target
from advbench.threats import Threat


@dataclass
class Verified:
    """What became of one cell's outcomes, of one target's clean answers, or of a board."""

    cell: str
    """The cell's key; empty for clean answers and boards."""
    label: str
    noun: str = "outcomes"
    """What was refereed; empty for a board, where nothing is."""
    outcomes: int = 0
    differences: list[str] = field(default_factory=list)
    unchecked: str = ""
    """Why nothing, or not everything, could be checked."""
    facts: dict[str, str] = field(default_factory=dict)
    """A cell's checksums, by target, of what was stored when this began (`store.marks`)."""
    shaken: str = ""
    """A cell's targets whose clean answers differ or could not be checked, so that its rates can't be trusted."""

    @property
    def sound(self) -> bool:
        return not self.differences and not self.unchecked


@dataclass
class Refereeing:
    """The cell's targets judge its stored perturbations once more; what differs goes into the result."""

    store: Store
    cell: CellRow
    ball: Threat
    known: Known
    targets: Mapping[str, Target | str]
    """Targets by key, or why one is not here."""
    answers: Mapping[str, Ready]
    """Answers to clean images here, by target key."""
    device: torch.device
    result: Verified
    seen: set[int] = field(default_factory=set)
    """Examples whose perturbation was met."""
    drawn: dict[str, list[tuple[Verdict, OutcomeRow]]] = field(default_factory=lambda: defaultdict(list))
    """Fresh verdicts and stored outcomes, by target whose draws can't be repeated."""

    def run(self) -> None:
        self.result.unchecked = "; ".join(str(self.targets[k]) for k in self.keys if isinstance(self.targets[k], str))
        self.result.differences += self._wrong_shards()
        self._ask_for_clean_answers()
        if self._left_behind():
            words = (
                f"its perturbations are not here, since images of {self.cell.dataset} are not to be published; "
                "`advbench reproduce` crafts them again"
            )
            self.result.unchecked = self.result.unchecked or words
            return
        try:
            for shard in stored_shards(self.store, self.cell, self.threat, self.known[1].judge, self.device):
                self._shard(shard)
        except TimeUpError:
            raise
        except Exception as error:  # a missing or damaged artifact, or a target that fails, concerns this cell alone
            self.result.differences.append(one_line(error))
            return
        self._hold_draws_against_chance()
        self._look_for_what_is_missing()

    @cached_property
    def judged(self) -> set[tuple[str, int]]:
        return self.store.judged(self.cell.key)

    @cached_property
    def keys(self) -> list[str]:
        """Keys of the cell's own target, and of all others that judged it."""
        return sorted({self.cell.source, *(target for target, _ in self.judged)})

    @cached_property
    def threat(self) -> Threat:
        return first_ball(self.ball) if self.cell.protocol == FIRST else self.ball

    @cached_property
    def due(self) -> list[int]:
        """The ids of the examples that the cell was crafted on, in order."""
        return self.store.examples(self.cell.examples)

    @cached_property
    def done(self) -> bool:
        return self.store.cell_status(self.cell.key) == "done"

    @cached_property
    def crafted(self) -> frozenset[int]:
        """The ids of the examples in the shards that there have to be."""
        shards = self.store.shards(self.cell.key).values()
        return frozenset(
            self.due if self.done else (one for row in shards for one in self.due[row.first : row.first + row.count])
        )

    @cached_property
    def outcomes(self) -> dict[str, dict[int, OutcomeRow]]:
        """Stored outcomes by target and example; what is recomputed is taken out, so that the rest is missing."""
        return {key: {row.example: row for row in self.store.outcomes(self.cell.key, key)} for key in self.keys}

    @cached_property
    def pictures(self) -> dict[int, ExhibitRow]:
        """Stored pictures by example; what is drawn again is taken out, so that the rest is missing."""
        return {row.example: row for row in self.store.exhibits(self.cell.key)}

    @cached_property
    def shown(self) -> frozenset[int]:
        """Examples of which a picture is stored."""
        return frozenset(self.pictures)

    @cached_property
    def shown_first(self) -> frozenset[int]:
        """Examples of which a picture is due."""
        dataset = self.known[0]
        return shown_of(self.due, dataset.shape) if dataset.publishable else frozenset()

    @cached_property
    def aims(self) -> Aims | None:
        drawn = self.store.draws().get(self.cell.examples)
        return Aims.of(self.cell, self.known, self.answers.get(self.cell.source), self.device, drawn)

    @cached_property
    def by_chance(self) -> frozenset[str]:
        return frozenset(row.key for row in self.store.targets() if row.randomised)

    def _ask_for_clean_answers(self) -> None:
        for key in self.keys:
            if key in self.answers and (silent := set(self.due) - set(self.answers[key].examples.ids.tolist())):
                label = self.answers[key].target.label
                words = f"{len(silent)} examples have no clean answer of {label}, {min(silent)} among them"
                self.result.differences.append(words)

    def _shard(self, shard: StoredShard) -> None:
        rendered = render(self.threat, shard.x, shard.p)
        self.seen.update(shard.examples.ids.tolist())
        if self.aims and (wrong := self.aims.wrong(shard.examples.ids.tolist(), shard.goal.labels.tolist())):
            self.result.differences.append(f"shard {shard.number}: {wrong}")
        source = self.targets[self.cell.source]
        if isinstance(source, Target):
            self._compare_pictures(source, shard, rendered)
        for key in self.keys:
            target = self.targets[key]
            if isinstance(target, Target) and (key, shard.number) in self.judged:
                self._compare_verdicts(key, target, shard, rendered)

    def _compare_pictures(self, source: Target, shard: StoredShard, rendered: Rendered) -> None:
        due = self.shown & self.shown_first & set(shard.examples.ids.tolist())
        for fresh in exhibits(source, self.threat, shard.examples, shard.p, rendered.images, due):
            kept = self.pictures.pop(fresh.example)
            if source.draws > 1 and fresh.redrawn is not None and kept.redrawn is not None:
                fresh = replace(fresh, redrawn=kept.redrawn)  # drawn by chance
            if self.cell.protocol == FIRST and fresh.words != kept.words:
                fresh = replace(fresh, words=kept.words)
                words = "words beside pictures not checkable: today's version puts them otherwise"
                self.result.unchecked = self.result.unchecked or words
            if wrong := unlike(fresh, kept, self.known[0].shape):
                self.result.differences.append(f"example {fresh.example}: {wrong}")

    def _compare_verdicts(self, key: str, target: Target, shard: StoredShard, rendered: Rendered) -> None:
        agreement = Agreement.of(self.answers[key])
        exact = key not in self.by_chance or target.repeats
        verdicts = judge(target, rendered, shard.goal, shard.places)
        rows = zip(shard.examples.ids.tolist(), shard.goal.labels.tolist(), verdicts, strict=True)
        for example, goal_label, verdict in rows:
            self.result.outcomes += 1
            stored = self.outcomes[key].pop(example, None)
            difference = "is not stored"
            if stored is not None:
                difference = agreement.difference(verdict, goal_label, stored, exact)
                self.drawn[key] += [] if exact else [(verdict, stored)]
            if difference:
                self.result.differences.append(f"example {example} on {target.label}: {difference}")

    def _hold_draws_against_chance(self) -> None:
        for key, pairs in self.drawn.items():
            again, stated = [verdict.reached for verdict, _ in pairs], [bool(row.reached) for _, row in pairs]
            label = getattr(self.targets[key], "label", key)
            self.result.differences += lopsided(f"fooled on {label}", again, stated)

    def _left_behind(self) -> bool:
        """Whether the perturbations stayed where the cell came from, as those of images do that nobody publishes."""
        stored = self.store.shards(self.cell.key).values()
        whole = self.store.artifacts.whole
        return bool(stored) and not self.known[0].publishable and not any(whole(row.artifact) for row in stored)

    def _look_for_what_is_missing(self) -> None:
        differences = self.result.differences
        if self.aims and (lost := self.aims.missing(self.seen) & self.crafted):
            differences.append(f"{len(lost)} examples have no perturbation, example {min(lost)} among them")
        shows = bool(self.shown) or self.cell.content is not None  # a cell may be older than pictures
        if shows and (hidden := (self.shown_first & self.seen) - self.shown):
            differences.append(f"example {min(hidden)}: no picture of it is stored")
        if self.pictures and not self.known[0].publishable:
            differences.append(f"{len(self.pictures)} pictures are stored, of images that are not to be published")
        elif self.pictures and isinstance(self.targets[self.cell.source], Target):
            differences.append(f"example {min(self.pictures)}: a picture of what is not among the first perturbations")
        for key in self.keys:
            target = self.targets[key]
            if isinstance(target, Target):
                left = self.outcomes[key]
                differences += [f"example {one} on {target.label}: stored, but no perturbation is" for one in left]

    def _wrong_shards(self) -> list[str]:
        """Shards of a cell that is done cover its examples, one after the other; those of another one are some of such
        shards. Its source has judged them all."""
        shards = list(self.store.shards(self.cell.key).values())
        count, size = self.cell.count, shards[0].size if shards else 0
        spans = [(number, first, min(size, count - first)) for number, first in enumerate(range(0, count, size or 1))]
        there = [(row.shard, row.first, row.count) for row in shards]
        if self.done and (not size or there != spans):
            return [f"its shards do not cover its {count} examples one after the other"]
        if astray := set(there) - set(spans):
            return [f"its shard {min(astray)[0]} does not lie where the others have it"]
        unjudged = [row.shard for row in shards if (self.cell.source, row.shard) not in self.judged]
        return [f"shard {unjudged[0]} was not judged on its own target"] if unjudged else []
