"""Detection at every threshold: figure 2, and the histograms of distances of figure 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advbench import Analysis, Finding, Findings, Inputs, JudgedCell, Material, Series, Wanted, mean, share
from advbench_studies.qin2020.arithmetic import area, area_interval, densities, overlap, share_below
from advbench_studies.qin2020.betas import Counted, best, counted_of
from advbench_studies.qin2020.redrawing import distances
from advbench_studies.qin2020.sizes import NETWORKS, TITLES
from advbench_studies.qin2020.suites import named

RATES = (1, 5, 10, 20)
"""False alarms in percent, at which undetected rates are told."""
GRID = np.unique(np.concatenate([np.linspace(0, 0.2, 21), np.linspace(0.2, 1, 17)]))


@dataclass(frozen=True)
class Curves(Analysis):
    """Undetected successes of targeted R-PGD against false alarms, a curve for each network.

    β is the one with most undetected successes at the paper's threshold. Thresholds are quantiles of the distances of
    the first `count` clean test images.
    """

    name = "curves"

    dataset: str = ""
    networks: str = " ".join(NETWORKS.values())
    count: int = 1000

    @property
    def inputs(self) -> Inputs:
        asked = self.networks.split()
        return Inputs(
            tuple(named("r-pgd", self.dataset, network) for network in asked),
            tuple(Wanted(self.dataset, network) for network in asked),
        )

    def find(self, material: Material) -> Findings:
        numbers: list[Finding] = []
        series: list[Series] = []
        images = material.data(self.dataset).judge[: self.count].pixels()
        for network in self.networks.split():
            material.progress(0.5, network)
            clean = np.sort(distances(material, self.dataset, network, images)[1].numpy())
            cells = material.cells(named("r-pgd", self.dataset, network), goal="random")
            groups = {
                "R-PGD": [cell for cell in cells if "beta" in (cell.row.attack_params or {})],
                "aware": [cell for cell in cells if "beta" not in (cell.row.attack_params or {})],
            }
            for attack, group in groups.items():
                if not group:
                    continue
                chosen = strongest(group)
                far = [row.suspicion or 0.0 for row in chosen.outcomes() if row.reached and row.violation is None]
                n = len(chosen.outcomes())
                # at a rate of false alarms f the threshold lets 1 - f of the clean images pass
                thresholds = np.quantile(clean, 1 - GRID, method="inverted_cdf")
                # above the largest rate nothing passes; at rate 0 the farthest clean image is the threshold
                silent = 100 * share_below(far, thresholds) * len(far) / max(1, n)
                silent[-1] = 0.0
                label = f"{TITLES[network]}, {attack}"
                series.append(Series.of(label, zip(100 * GRID, silent, strict=True)))
                numbers.append(Finding(f"area · {label}", float(np.trapezoid(silent, GRID)), n=n, unit="percent"))
                for rate in RATES:
                    threshold = np.quantile(clean, 1 - rate / 100, method="inverted_cdf")
                    hits = round(float(share_below(far, [threshold])[0]) * len(far))
                    numbers.append(share(f"undetected at {rate} % · {label}", hits, n))
        return Findings(tuple(numbers), tuple(series))


def strongest(cells: list[JudgedCell]) -> JudgedCell:
    """The one with most undetected successes."""
    counted = {id(one): (cell, one) for cell in cells for one in [_counted(cell)]}
    chosen = best([one for _, one in counted.values()])
    return counted[id(chosen)][0]


def _counted(cell: JudgedCell) -> Counted:
    return counted_of(cell, float((cell.row.attack_params or {}).get("beta", 0.0)))


@dataclass(frozen=True)
class Distances(Analysis):
    """Distances on clean digits redrawn from every class (figure 1a), and of PGD's images beside clean ones (1b)."""

    name = "distances"

    dataset: str = ""
    count: int = 500
    attack: str = ""
    """The PGD of figure 1b, as in the suites."""

    @property
    def inputs(self) -> Inputs:
        return Inputs(
            tuple(named("standard", self.dataset, network) for network in TITLES),
            tuple(Wanted(self.dataset, network) for network in TITLES),
        )

    def find(self, material: Material) -> Findings:
        examples = material.data(self.dataset).judge[: self.count]
        images, labels = examples.pixels(), examples.labels
        found = Findings()
        for place, (network, title) in enumerate(TITLES.items()):
            material.progress(place / len(TITLES), title)
            _, far = distances(material, self.dataset, network, images, every=True)
            rows = np.arange(len(labels))
            true = far.numpy()[rows, labels.numpy()]
            others = np.delete(far.numpy().ravel(), rows * far.shape[1] + labels.numpy())
            if network != "cnn-r":  # that one redraws the same whatever the class
                found += self._by_class(title, true, others, labels.numpy(), far.numpy())
            clean = distances(material, self.dataset, network, images)[1].numpy()
            found += self._attacked(material, network, clean)
        return found

    def _by_class(
        self, title: str, true: np.ndarray, others: np.ndarray, labels: np.ndarray, far: np.ndarray
    ) -> Findings:
        low, high = 0.0, float(far.max())
        ranked = area(true, others)
        lower, upper = area_interval(ranked, len(true), len(others))
        numbers = [
            Finding(f"area true below other · {title}", ranked, lower, upper, len(true)),
            Finding(f"overlap · {title}", overlap(true, others), n=len(true)),
            mean(f"distance, true class · {title}", true),
            mean(f"distance, other classes · {title}", others),
        ]
        series = [
            Series.of(f"{title}: true class", densities(true, low, high)),
            Series.of(f"{title}: other classes", densities(others, low, high)),
            Series.of(
                f"{title}, by digit: true class",
                [(k, float(far[labels == k, k].mean())) for k in range(far.shape[1]) if (labels == k).any()],
            ),
            Series.of(
                f"{title}, by digit: other classes",
                [
                    (k, float(np.delete(far[labels == k], k, 1).mean()))
                    for k in range(far.shape[1])
                    if (labels == k).any()
                ],
            ),
        ]
        return Findings(tuple(numbers), tuple(series))

    def _attacked(self, material: Material, network: str, clean: np.ndarray) -> Findings:
        cell = material.cell(named("standard", self.dataset, network), attack=self.attack, goal="untargeted")
        moved = [row.suspicion or 0.0 for row in cell.outcomes() if row.reached and row.violation is None]
        title = TITLES[network]
        high = max([float(clean.max()), *moved])
        numbers = [
            Finding(f"radius · {title}", cell.row.eps),
            mean(f"distance, clean · {title}", clean),
            mean(f"distance, PGD · {title}", moved),
        ]
        if moved:
            ranked = area(clean, moved)
            lower, upper = area_interval(ranked, len(clean), len(moved))
            numbers.append(Finding(f"area clean below PGD · {title}", ranked, lower, upper, len(moved)))
        series = (
            Series.of(f"{title}: clean", densities(clean, 0.0, high)),
            Series.of(f"{title}: PGD", densities(moved, 0.0, high)),
        )
        return Findings(tuple(numbers), series)
