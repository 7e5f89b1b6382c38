"""How each claim of the paper is judged: on its own attacks, and under the strongest that there are."""

from __future__ import annotations

from collections.abc import Mapping

from advbench import (
    Book,
    Bound,
    ClaimVerdict,
    Finding,
    Judged,
    Level,
    above,
    below,
    every,
    less,
    most,
    near,
    opposite,
)
from advbench_studies.michels2019.bindings import (
    ATTACKS,
    accuracies,
    ensemble,
    kinds,
    size,
    stronger,
    transfer,
    universals,
)
from advbench_studies.michels2019.kinds import Kin
from advbench_studies.michels2019.networks import CAPSNET, CONVNET, KINDS, other
from advbench_studies.michels2019.reaches import Reaches
from advbench_studies.michels2019.smallest import Smallest
from advbench_studies.michels2019.suites import BRENDEL_BETHGE, FMN, SIZES, radii

MATCHED = 1.0
"""Points by which the accuracies of networks may differ that are called alike; the paper's differ by 0.25 at most."""


def judges(level: Level) -> Mapping[str, Judged]:
    """By the claim's id."""
    asked = Claims(level)
    return {
        "michels-1": Judged(asked.not_more_robust, asked.not_more_robust_strongly),
        "michels-2": Judged(asked.smaller_on_capsules, asked.smaller_on_capsules_strongly),
        "michels-3": Judged(asked.deepfool_worse, asked.deepfool_worse_strongly),
        "michels-4": Judged(asked.transfer_follows_size, asked.transfer_follows_size_strongly),
        "michels-5": Judged(asked.universal_transfers, asked.universal_transfers_strongly),
        "michels-6": Judged(asked.better_from_convnet, asked.better_from_convnet_strongly),
        "michels-7": Judged(asked.universal_largest, asked.universal_largest_strongly),
        "michels-8": Judged(asked.differ_in_kind, asked.differ_by_architecture),
        "michels-9": Judged(asked.matched, why="it is about clean images, which no attack changes"),
    }


class Claims:
    """The judges of one level, whose sizes decide which findings there are."""

    def __init__(self, level: Level) -> None:
        self._level: Level = level
        self._datasets = SIZES[level].datasets

    def not_more_robust(self, book: Book) -> ClaimVerdict:
        """It fails where capsules need larger perturbations in most cells of table 1."""
        return opposite(most(*(self._larger(book, d, attack) for d in self._datasets for attack in self._all)))

    def not_more_robust_strongly(self, book: Book) -> ClaimVerdict:
        """Smallest perturbations on the same images, autoattack at a radius, and universal-pgd at one."""
        found: list[ClaimVerdict] = []
        for dataset in self._datasets:
            found += [above(book(Smallest(dataset=dataset), f"{CAPSNET} less {CONVNET}"), 0.0)]
            turned = {kind: read(book, ensemble(self._level, dataset, kind)) for kind in KINDS}
            found += [less(turned[CAPSNET], turned[CONVNET])]
            at = self._radius(dataset)
            reached = {k: book(Reaches(dataset=dataset), f"fooled · {k} on {k} · {at:g}") for k in KINDS}
            found += [less(reached[CAPSNET], reached[CONVNET])]
        return opposite(most(*found))

    def smaller_on_capsules(self, book: Book) -> ClaimVerdict:
        return every(*(self._smaller(book, dataset, "CW") for dataset in self._datasets))

    def smaller_on_capsules_strongly(self, book: Book) -> ClaimVerdict:
        """Brendel and Bethge's attack, towards the same random classes."""
        found = []
        for dataset in self._datasets:
            sizes = {k: self._strong("size", book, dataset, BRENDEL_BETHGE, k, goal="random") for k in KINDS}
            found += [less(sizes[CAPSNET], sizes[CONVNET])]
        return every(*found)

    def deepfool_worse(self, book: Book) -> ClaimVerdict:
        return most(*(self._larger(book, dataset, "DeepFool") for dataset in self._datasets))

    def deepfool_worse_strongly(self, book: Book) -> ClaimVerdict:
        """The smallest perturbation that any attack found for an image, on the same images."""
        return most(*(above(book(Smallest(dataset=d), f"{CAPSNET} less {CONVNET}"), 0.0) for d in self._datasets))

    def transfer_follows_size(self, book: Book) -> ClaimVerdict:
        found = []
        for dataset in self._datasets:
            for attack in ATTACKS:
                sizes = [read(book, size(self._level, dataset, attack, kind)) for kind in KINDS]
                rates = [read(book, transfer(self._level, dataset, attack, kind, other(kind))) for kind in KINDS]
                found += [follows(sizes, rates)]
        return most(*found)

    def transfer_follows_size_strongly(self, book: Book) -> ClaimVerdict:
        found = []
        for dataset in self._datasets:
            for place, goal in ((FMN, "untargeted"), (BRENDEL_BETHGE, "untargeted"), (BRENDEL_BETHGE, "random")):
                sizes = [self._strong("size", book, dataset, place, kind, goal=goal) for kind in KINDS]
                rates = [
                    self._strong("transferred", book, dataset, place, kind, goal=goal, asked=other(kind))
                    for kind in KINDS
                ]
                found += [follows(sizes, rates)]
        return most(*found)

    def universal_transfers(self, book: Book) -> ClaimVerdict:
        """Its rate lies above that of every attack on images one by one, in most pairs of networks."""
        found = []
        for dataset in self._datasets:
            for source in KINDS:
                asked = other(source)
                universal = read(book, transfer(self._level, dataset, "Universal", source, asked))
                single = [read(book, transfer(self._level, dataset, attack, source, asked)) for attack in ATTACKS]
                found += [every(*(less(one, universal) for one in single))]
        return most(*found)

    def universal_transfers_strongly(self, book: Book) -> ClaimVerdict:
        found = []
        for dataset in self._datasets:
            at = self._radius(dataset)
            for source in KINDS:
                universal = book(Reaches(dataset=dataset), f"wrong · {source} on {other(source)} · {at:g}")
                single = [
                    self._strong("transferred", book, dataset, place, source, asked=other(source))
                    for place in (FMN, BRENDEL_BETHGE)
                ]
                found += [every(*(less(one, universal) for one in single))]
        return most(*found)

    def better_from_convnet(self, book: Book) -> ClaimVerdict:
        """The perturbations of the ConvNet are smaller, and fool the other network more often."""
        found = []
        for dataset in self._datasets:
            there = {kind: read(book, transfer(self._level, dataset, "Universal", kind, other(kind))) for kind in KINDS}
            found += [every(self._larger(book, dataset, "Universal"), less(there[CAPSNET], there[CONVNET]))]
        return every(*found)

    def better_from_convnet_strongly(self, book: Book) -> ClaimVerdict:
        """At equal norm, so that the ConvNet's need not even be larger."""
        found = []
        for dataset in self._datasets:
            at = self._radius(dataset)
            there = {k: book(Reaches(dataset=dataset), f"wrong · {k} on {other(k)} · {at:g}") for k in KINDS}
            found += [less(there[CAPSNET], there[CONVNET])]
        return every(*found)

    def universal_largest(self, book: Book) -> ClaimVerdict:
        found = []
        for dataset in self._datasets:
            for kind in KINDS:
                universal = book(universals(self._level, dataset), f"norm · {kind}")
                found += [less(read(book, size(self._level, dataset, attack, kind)), universal) for attack in ATTACKS]
        return every(*found)

    def universal_largest_strongly(self, book: Book) -> ClaimVerdict:
        """The smallest perturbation of single images against the radius at which universal-pgd fools half."""
        found = []
        for dataset in self._datasets:
            for kind in KINDS:
                single = self._strong("size", book, dataset, BRENDEL_BETHGE, kind)
                found += [shorter_than(single, book(Reaches(dataset=dataset), f"half · {kind}"))]
        return every(*found)

    def differ_in_kind(self, book: Book) -> ClaimVerdict:
        return every(*(above(book(kinds(self._level, d), "within less between"), 0.0) for d in self._datasets))

    def differ_by_architecture(self, book: Book) -> ClaimVerdict:
        """A harder test, not a stronger attack: another network of each kind is nearer to its own kind."""
        return above(book(Kin(), "same kind less other kind"), 0.0)

    def matched(self, book: Book) -> ClaimVerdict:
        none = Finding("no difference", 0.0)
        gaps = [book(accuracies(self._level, d), f"{CONVNET} less {CAPSNET}") for d in self._datasets]
        return every(*(near(gap, none, MATCHED) for gap in gaps))

    @property
    def _all(self) -> tuple[str, ...]:
        return (*ATTACKS, "Universal")

    def _larger(self, book: Book, dataset: str, attack: str) -> ClaimVerdict:
        """Whether capsules need larger perturbations."""
        sizes = {kind: read(book, size(self._level, dataset, attack, kind)) for kind in KINDS}
        return less(sizes[CONVNET], sizes[CAPSNET])

    def _smaller(self, book: Book, dataset: str, attack: str) -> ClaimVerdict:
        sizes = {kind: read(book, size(self._level, dataset, attack, kind)) for kind in KINDS}
        return less(sizes[CAPSNET], sizes[CONVNET])

    def _strong(
        self, metric: str, book: Book, dataset: str, place: int, kind: str, goal: str = "untargeted", asked: str = ""
    ) -> Finding:
        return read(book, stronger(metric, self._level, dataset, place, kind, goal=goal, asked=asked))

    def _radius(self, dataset: str) -> float:
        """The one in the middle of those that universal-pgd is given."""
        tried = radii(self._level, dataset)
        return tried[(len(tried) - 1) // 2]


def read(book: Book, bound: Bound) -> Finding:
    return book(bound.analysis, bound.finding)


def follows(sizes: list[Finding], rates: list[Finding]) -> ClaimVerdict:
    """Whether the network with the larger perturbations is the one whose perturbations transfer better."""
    larger, better = less(sizes[0], sizes[1]), less(rates[0], rates[1])
    words = f"{larger.words} ({larger.outcome}) as {better.words} ({better.outcome})"
    smaller, worse = less(sizes[1], sizes[0]), less(rates[1], rates[0])
    if "holds" not in (larger.outcome, smaller.outcome) or "holds" not in (better.outcome, worse.outcome):
        return ClaimVerdict("undecided", words)
    return ClaimVerdict("holds" if larger.outcome == better.outcome else "fails", words)


def shorter_than(single: Finding, half: Finding) -> ClaimVerdict:
    """A size against a radius, of which only a lower bound may be known."""
    if half.value is None and half.low is not None:
        verdict = below(single, half.low)
        # above that bound nothing is known
        return verdict if verdict.outcome == "holds" else ClaimVerdict("undecided", verdict.words)
    return less(single, half)
