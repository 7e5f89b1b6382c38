"""What the author of a study subclasses: a paper's experiments, from suites to verdicts on its claims."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, Protocol

from advbench.claim_verdict import ClaimVerdict
from advbench.findings import Finding, Findings
from advbench.parameters import Parametric
from advbench.plugin import Plugin

if TYPE_CHECKING:
    from advbench.studies.material import Material

Level = Literal["smoke", "hour", "paper"]
LEVELS: tuple[Level, ...] = ("smoke", "hour", "paper")
"""How much is computed. Another number of examples crafts again, so there are fixed levels and no budget of minutes."""


@dataclass(frozen=True)
class Wanted:
    """A target that an analysis asks itself, by names as in a suite."""

    dataset: str
    model: str
    defense: str = "none"


@dataclass(frozen=True)
class Inputs:
    """What an analysis reads: its key takes them in, and `Material` hands out nothing else."""

    suites: tuple[str, ...] = ()
    """Names of suites of the study, with all their cells."""
    targets: tuple[Wanted, ...] = ()
    data: tuple[str, ...] = ()
    """Names of data sets; those of the targets are among them by themselves."""


@dataclass(frozen=True)
class Analysis(Parametric, ABC):
    """Computes findings from stored facts and from networks; a frozen dataclass, whose fields are its parameters.

    Two analyses of a study are told apart by their labels, as `angles(count=500)`.
    """

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """What it reads."""

    @abstractmethod
    def find(self, material: Material) -> Findings:
        """What there is to find; asked once, and again by `advbench verify`.

        Whatever it draws comes from `material.draws`, and what takes long calls `material.progress`.
        """


@dataclass(frozen=True)
class Number:
    """A published number, and where it stands."""

    place: str
    """The table or figure, as `Table 1`."""
    position: int
    """Which of its numbers, from 0 on."""
    columns: Mapping[str, Any]
    """What the row says beside the value: attack, network, data set, …; of a figure's number, its `name`."""
    value: float | str
    unit: str
    decimals: int = 0
    """How many the paper gives, a last zero among them."""


@dataclass(frozen=True)
class Bound:
    """Where our number comes from: the name of a finding of an analysis of the study."""

    analysis: Analysis
    finding: str


@dataclass(frozen=True)
class Absent:
    """Why there is none of ours."""

    reason: str


class Book(Protocol):
    """The findings of a study by analysis and name; asking for one that is not there leaves a claim undecided."""

    def __call__(self, analysis: Analysis, finding: str) -> Finding: ...


Judge = Callable[[Book], ClaimVerdict]


@dataclass(frozen=True)
class Judged:
    """How a claim is judged: on the paper's attacks, and under the strongest that there are."""

    paper: Judge
    strongest: Judge | None = None
    """None where the claim is about no attack, so that no stronger one could change it; `why` then says so."""
    why: str = ""


@dataclass(frozen=True)
class Table:
    """A published table or the numbers of a figure, each beside ours."""

    place: str
    across: str = ""
    """A column whose values become columns of the page's table; empty for one number a row."""


@dataclass(frozen=True)
class Chart:
    """A figure drawn from the series of an analysis."""

    place: str
    analysis: Analysis
    series: tuple[str, ...] = ()
    """Names, or beginnings of names that end with a star; all of them where none is named."""
    x: str = ""
    y: str = ""
    kind: Literal["lines", "marks", "bars"] = "lines"
    caption: str = ""
    published: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = ()
    """Curves or marks read from the paper, by name."""


@dataclass(frozen=True)
class Gallery:
    """Pictures of an analysis."""

    place: str
    analysis: Analysis
    pictures: tuple[str, ...] = ()
    """Names, or beginnings of names that end with a star; all of them where none is named."""
    caption: str = ""


@dataclass(frozen=True)
class Ours:
    """Findings that the paper has no numbers for: stronger attacks, confounders, known answers."""

    title: str
    analysis: Analysis
    findings: tuple[str, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Missing:
    """A table or figure of the paper that is not reproduced, with the reason."""

    place: str
    reason: str


Shown = Table | Chart | Gallery | Ours | Missing


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order of the paper."""

    title: str
    text: str = ""
    """Paragraphs, with an empty line between."""
    shows: tuple[Shown, ...] = ()


@dataclass(frozen=True)
class Study(Plugin):
    """A paper's experiments: suites, analyses, published numbers and what becomes of them, claims and their judges."""

    @property
    def published(self) -> str:
        """The paper's numbers and claims as YAML: the file `NAME.yaml` beside the class's module, unless overridden.

        `docs/studies.md` says what it holds.
        """
        package = getattr(inspect.getmodule(type(self)), "__package__", None) or type(self).__module__
        return (files(package) / f"{self.name}.yaml").read_text(encoding="utf-8")

    @abstractmethod
    def abstract(self) -> str:
        """What the paper does and says, in words of our own."""

    @abstractmethod
    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        """What is run, each as a suite's document has it, with a `name` of its own."""

    @abstractmethod
    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        """What is computed from it, in order."""

    @abstractmethod
    def binding(self, number: Number, level: Level) -> Bound | Absent:
        """Our number beside a published one, or why there is none."""

    @abstractmethod
    def judges(self, level: Level) -> Mapping[str, Judged]:
        """How each claim is judged, by the claim's id."""

    @abstractmethod
    def sections(self, level: Level) -> tuple[Section, ...]:
        """The page, in the order of the paper."""


__all__ = [
    "LEVELS",
    "Absent",
    "Analysis",
    "Bound",
    "Chart",
    "Gallery",
    "Inputs",
    "Judge",
    "Judged",
    "Level",
    "Missing",
    "Number",
    "Ours",
    "Section",
    "Shown",
    "Study",
    "Table",
    "Wanted",
]
