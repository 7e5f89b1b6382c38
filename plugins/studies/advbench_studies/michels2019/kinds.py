"""Figure 2: whether universal perturbations of the two networks differ in kind, in the plane and as cosines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import (
    Analysis,
    Finding,
    Findings,
    Inputs,
    JudgedCell,
    Material,
    NotFoundError,
    Picture,
    Series,
    at_least,
    mean,
    share,
)
from advbench_studies.michels2019.cosines import (
    Alikeness,
    alikeness,
    as_far_apart,
    cosines,
    left_out,
    nearest_alike,
)
from advbench_studies.michels2019.networks import CAPSNET, CONVNET, KIN, KINDS, network
from advbench_studies.michels2019.suites import KIN_SUITE
from advbench_studies.michels2019.tsne import embed, squared_distances
from advbench_studies.michels2019.universals import cells_by_part, norm_of, parts_of, vectors_of


@dataclass(frozen=True)
class Kinds(Analysis):
    """The universal perturbations of both networks in the plane, the cosines between them, and what they look like.

    Intervals are jackknifed over the parts of the images: each part is left out of both networks in turn.
    """

    name = "kinds"

    dataset: str = "mnist"
    perplexity: float = 5.0
    steps: int = at_least(1, default=1000)

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.dataset,))

    def find(self, material: Material) -> Findings:
        cells = moved({kind: parts_of(material, self.dataset, kind) for kind in KINDS})
        vectors = torch.cat([vectors_of(cells[kind]) for kind in KINDS]).flatten(1)
        parts = len(cells[CONVNET])
        groups = [range(parts), range(parts, 2 * parts)]
        pairs = cosines(vectors)

        def told(name: str, number: Callable[[Alikeness], float]) -> Finding:
            return jackknifed(name, pairs, groups, number)

        kind_of = [0] * parts + [1] * parts
        start = 1e-2 * material.draws(f"t-sne/{self.dataset}", range(2 * parts)).normal(2)
        perplexity = min(self.perplexity, 2 * parts / 3)
        plane = embed(
            vectors,
            perplexity,
            start,
            steps=self.steps,
            progress=lambda fraction: material.progress(fraction, "t-SNE"),
        )
        same_part = torch.cat([pairs[:parts, parts:].argmax(1), pairs[:parts, parts:].argmax(0)])
        numbers = (
            told(f"cosine within · {CONVNET}", lambda one: one.within[0]),
            told(f"cosine within · {CAPSNET}", lambda one: one.within[1]),
            told("cosine between", lambda one: one.between),
            told("within less between", lambda one: one.difference),
            as_far_apart(pairs, *groups),
            share("nearest is of the same network", nearest_alike(-pairs, kind_of), 2 * parts),
            share(
                "nearest in the plane is of the same network",
                nearest_alike(squared_distances(plane.points), kind_of),
                2 * parts,
            ),
            share(
                "nearest of the other network is of the same part",
                int((same_part == torch.arange(parts).repeat(2)).sum()),
                2 * parts,
            ),
            Finding("t-SNE: divergence", plane.divergence, n=2 * parts, unit="nats"),
            Finding("t-SNE: perplexity", perplexity, n=2 * parts),
        )
        series = tuple(
            Series.of(kind, [tuple(point) for point in plane.points[group].tolist()])
            for kind, group in zip(KINDS, map(list, groups), strict=True)
        )
        pictures = tuple(
            drawn_vector(f"{kind} · part {part + 1}", cells[kind], part, material, self.dataset)
            for kind in KINDS
            for part in range(2)
        )
        return Findings(numbers, series, pictures)


@dataclass(frozen=True)
class Kin(Analysis):
    """Cosines with another convolutional and another capsule network: is it the architecture, or just the network?"""

    name = "kin"

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=("mnist", KIN_SUITE))

    def find(self, material: Material) -> Findings:
        networks = [network(CONVNET, "mnist"), KIN[CONVNET], network(CAPSNET, "mnist"), KIN[CAPSNET]]
        made = [parts_of(material, "mnist", CONVNET), cells_by_part(material, KIN_SUITE, "mnist", KIN[CONVNET])]
        made += [parts_of(material, "mnist", CAPSNET), cells_by_part(material, KIN_SUITE, "mnist", KIN[CAPSNET])]
        cells = [*moved(dict(zip(networks, made, strict=True))).values()]
        pairs = cosines(torch.cat([vectors_of(own) for own in cells]))
        parts = len(cells[0])
        groups = [range(place * parts, (place + 1) * parts) for place in range(4)]
        found = [
            jackknifed(f"{networks[i]} and {networks[j]}", pairs, [groups[i], groups[j]], lambda one: one.between)
            for i in range(4)
            for j in range(i + 1, 4)
        ]

        def kinship(kept: Sequence[Sequence[int]]) -> float:
            """By how much the networks of one kind are more alike than those of two kinds."""

            def between(i: int, j: int) -> float:
                return alikeness(pairs, [kept[i], kept[j]]).between

            same = between(0, 1) + between(2, 3)
            across = between(0, 2) + between(0, 3) + between(1, 2) + between(1, 3)
            return same / 2 - across / 4

        without = [kinship([[i for i in group if i != group[left]] for group in groups]) for left in range(parts)]
        found += [left_out("same kind less other kind", without, kinship(groups))]
        found += [
            mean(f"norm · {name}", [norm_of(cell) for cell in own]) for name, own in zip(networks, cells, strict=True)
        ]
        return Findings(tuple(found))


def moved(cells: Mapping[str, Sequence[JudgedCell]]) -> dict[str, list[JudgedCell]]:
    """The parts of the images on which no network's search ended where it began: nothing points nowhere."""
    kept = [place for place, row in enumerate(zip(*cells.values(), strict=True)) if all(map(norm_of, row))]
    if len(kept) < 2:
        raise NotFoundError(f"universal perturbations of {', '.join(cells)} from {len(kept)} parts: two are needed")
    return {name: [own[place] for place in kept] for name, own in cells.items()}


def jackknifed(
    name: str, pairs: Tensor, groups: Sequence[Sequence[int]], number: Callable[[Alikeness], float]
) -> Finding:
    """A number of how alike two groups are, with each part left out of both in turn."""
    without = [
        number(alikeness(pairs, [[i for i in group if i != group[left]] for group in groups]))
        for left in range(len(groups[0]))
    ]
    return left_out(name, without, number(alikeness(pairs, groups)))


def drawn_vector(name: str, cells: list[JudgedCell], part: int, material: Material, dataset: str) -> Picture:
    """A perturbation as an image: grey is no change, and the largest change is black or white."""
    vector = cells[part].perturbed(1).perturbations[0]
    largest = float(vector.abs().max())
    words = f"l2 norm {norm_of(cells[part]):.2f}, largest change {largest:.2f}"
    return Picture(name, 0.5 + vector / (2 * max(largest, 1e-12)), words)
