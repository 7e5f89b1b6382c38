"""Success by pairs of source and target class (figure 4), and whether it follows how near the classes are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from advbench import Analysis, Examples, Finding, Findings, Inputs, Material, Picture, share
from advbench_studies.qin2020.arithmetic import correlation, jackknife, spread_beyond_chance
from advbench_studies.qin2020.mosaic import boxes
from advbench_studies.qin2020.sizes import FASHION
from advbench_studies.qin2020.suites import named


def pairs_name(what: str, network: str) -> str:
    """The name of a finding of `Pairs`."""
    return f"{what} · {network}"


@dataclass(frozen=True)
class Pairs(Analysis):
    """The matrix of success rates, their spread beyond chance, and their rank correlation with class distance.

    The distance of two classes is that of their mean training images. Intervals come from leaving out
    one source image after the other (the jackknife).
    """

    name = "pairs"

    network: str = ""

    @property
    def inputs(self) -> Inputs:
        return Inputs((named("pairs", FASHION, self.network),), data=(FASHION,))

    def find(self, material: Material) -> Findings:
        cells = material.cells(self.inputs.suites[0])
        classes = len(cells)
        outcomes = [
            (row.example, int(row.label), int(cell.goal.removeprefix("class=")), bool(row.reached), row.violation)
            for cell in cells
            for row in cell.outcomes()
            if row.label is not None
        ]
        examples = np.array([one[0] for one in outcomes])
        pairs = np.array([one[1] * classes + one[2] for one in outcomes])
        won = np.array([one[3] and one[4] is None for one in outcomes], float)
        far = class_distances(material.data(FASHION).train)
        apart = ~np.eye(classes, dtype=bool)

        def told(weights: np.ndarray) -> tuple[float, float]:
            counts = np.bincount(pairs, weights, classes**2).reshape(classes, classes)
            hits = np.bincount(pairs, weights * won, classes**2).reshape(classes, classes)
            seen = apart & (counts > 0)
            rates = hits[seen] / counts[seen]
            return spread_beyond_chance(hits[apart], counts[apart]), correlation(rates, far[seen])

        sources, whose = np.unique(examples, return_inverse=True)
        without = [told((whose != place).astype(float)) for place in range(len(sources))]
        spread, likeness = told(np.ones(len(won)))

        def name(what: str) -> str:
            return pairs_name(what, self.network)

        numbers = [
            Finding(
                name("spread over pairs"),
                spread,
                *jackknife(spread, [one[0] for one in without]),
                len(sources),
                "percent",
            ),
            Finding(
                name("correlation with class distance"),
                likeness,
                *jackknife(likeness, [one[1] for one in without]),
                len(sources),
            ),
            share(name("success over all pairs"), int(won.sum()), len(won)),
            Finding(name("radius"), cells[0].row.eps),
        ]
        counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        hits = np.bincount(pairs, won, classes**2).reshape(classes, classes)
        with np.errstate(invalid="ignore"):
            matrix = np.where(counts > 0, hits / counts, np.nan)
        caption = "rows: source class, columns: target class; the area of a box is the success rate"
        return Findings(tuple(numbers), pictures=(Picture("pairs", boxes(matrix), caption, of_data=False),))


def class_distances(examples: Examples) -> np.ndarray:
    """(classes, classes) l2 distances of mean images."""
    images, labels = examples.pixels(), examples.labels
    means = torch.stack([images[labels == k].mean(0).flatten() for k in range(int(labels.max()) + 1)])
    far: np.ndarray = torch.cdist(means, means).numpy().astype(float)
    return far
