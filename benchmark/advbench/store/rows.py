"""One frozen dataclass a table: what goes into the store and what comes out of it, with types that mypy sees.

A field has the name of its column. The numbers that stand for cells and targets inside the database are no part of a
record: they are an accident of the order of insertion, and everything is named by its key. Flags are 0 and 1, as
stored. What only an older version left out is None there. Where columns are data, in `joining`, `incoming`, `forms`
and `records`, which copy rows or hold a stranger's against the form that each column has, rows stay mappings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

Origin = Mapping[str, Any]
"""Who shipped a plugin: distribution, version, entry point, digest of the source."""


@dataclass(frozen=True)
class RunRow:
    id: str
    suite: str | None
    settings: Mapping[str, Any] | None
    seed: int | None
    protocol: int | None
    versions: Mapping[str, Any] | None
    hardware: Mapping[str, Any] | None
    command: str | None


@dataclass(frozen=True)
class PluginRow:
    """One that took part in a run, or was set aside with an error."""

    kind: str
    label: str
    distribution: str | None
    version: str | None
    digest: str | None
    error: str | None = None
    summary: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class SkipRow:
    """A pair that does not meet, and why."""

    dataset: str
    model: str
    defenses: str
    attack: str
    threat: str
    goal: str
    reason: str


@dataclass(frozen=True)
class DatasetRow:
    fingerprint: str
    label: str
    classes: Sequence[str]
    shape: Sequence[int]
    source: str | None
    partial: str | None
    train_fingerprint: str | None
    calibrate_fingerprint: str | None
    count: int
    publishable: int


@dataclass(frozen=True)
class TargetRow:
    """A network behind its defenses; `threshold` and `false_positive_rate` are a detector's."""

    key: str
    label: str
    model: str
    defenses: str
    dataset: str
    data_fingerprint: str
    params: Mapping[str, Any]
    origins: Mapping[str, Any] | None
    weights_sha256: str
    recipe: Mapping[str, Any] | None
    access: str | None
    threshold: float | None
    false_positive_rate: float | None
    randomised: int
    draws: int


@dataclass(frozen=True)
class CleanRow:
    """What a target answers to an unperturbed example."""

    example: int
    label: int
    predicted: int
    confidence: float | None
    suspicion: float | None


@dataclass(frozen=True)
class CertificateRow:
    """The class of an unperturbed example, and the radius in a family of balls for which it is proved."""

    example: int
    family: str
    predicted: int
    radius: float


@dataclass(frozen=True)
class BallRow:
    """What a cell and a board have in common: which examples, in which ball, by which rules."""

    key: str
    dataset: str
    data_fingerprint: str
    examples: str
    count: int
    threat: str
    family: str
    params: Mapping[str, Any] | None
    eps: float | None
    """None for all of the space, where nothing bounds the size."""
    seed: int | None
    protocol: int
    ball: Origin | None
    """Who shipped the ball; None for the core's own."""

    @property
    def place(self) -> tuple[str, str, int, str]:
        """What a cell and its board agree in, whatever the radius."""
        return self.data_fingerprint, self.examples, self.protocol, self.family


@dataclass(frozen=True)
class BoardRow(BallRow):
    name: str
    eps: float
    required: Sequence[str]


@dataclass(frozen=True)
class CellRow(BallRow):
    minimizes: int
    attack: str
    attack_params: Mapping[str, Any] | None
    origin: Origin | None
    goal: str
    stop: str
    source: str
    budget: int | None
    fit: str | None
    needs: str | None
    beyond_gradients: int | None
    content: str | None
    fit_fingerprint: str | None
    bank_fingerprint: str | None
    precision: str | None
    """Of the attack's passes where it is lower than the referee's; None for float32, and in all older rows."""


@dataclass(frozen=True)
class EventRow:
    """How an attempt at a cell ended."""

    run: str | None
    at: str
    status: str
    reason: str | None
    seconds: float | None


@dataclass(frozen=True)
class ImportRow:
    """How a cell came here by merging; what older versions did not note is None."""

    at: str
    source: str
    refereed: int
    crafted: int | None
    crafting: str | None


@dataclass(frozen=True)
class ShardRow:
    shard: int
    first: int
    count: int
    run: str | None
    batch: int | None
    seconds: float
    forwards: int
    backwards: int
    artifact: str

    @property
    def size(self) -> int:
        return shard_size(self.shard, self.first, self.count)


@dataclass(frozen=True)
class OutcomeRow:
    """The referee's facts about one perturbed example."""

    example: int
    goal_label: int | None
    reached: int
    predicted: int
    confidence: float | None
    suspicion: float | None
    size: float
    violation: str | None
    excess: float | None
    tolerance: float | None


@dataclass(frozen=True)
class LabelledOutcome(OutcomeRow):
    label: int | None
    """The true one; None where no clean answer is stored."""


@dataclass(frozen=True)
class ArtifactRow:
    sha256: str
    bytes: int
    kind: str | None


@dataclass(frozen=True)
class ExhibitRow:
    """An example as pictures: zlib of bytes, channels first; `moved` is zlib of float16."""

    example: int
    original: bytes
    perturbed: bytes
    redrawn: bytes | None
    moved: bytes | None
    words: str | None


Record = (
    RunRow
    | PluginRow
    | SkipRow
    | DatasetRow
    | TargetRow
    | CleanRow
    | CertificateRow
    | BoardRow
    | CellRow
    | EventRow
    | ImportRow
    | ShardRow
    | OutcomeRow
    | ArtifactRow
    | ExhibitRow
)


def by_column(row: Record | Mapping[str, Any]) -> Mapping[str, Any]:
    """A record by column; a mapping as it is."""
    return row if isinstance(row, Mapping) else vars(row)


def listed(kind: type[Any], table: str = "") -> str:
    """The columns of a question whose answers are such records: a table's, or any dataclass that `Store.read` makes."""
    return ", ".join(f"{table}.{field.name}" if table else field.name for field in fields(kind))


def shard_size(shard: int, first: int, count: int) -> int:
    """How many examples the shards of a cell span, told by one of them."""
    return first // shard if shard else count
