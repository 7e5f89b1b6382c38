"""Figure 1: the share of the spectrum of gradients in the first five directions, all networks side by side."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Finding, Findings, Inputs, Material, Series, at_least
from advbench_studies.equivariant2019.directions import gradients
from advbench_studies.equivariant2019.networks import DATA, NETWORKS
from advbench_studies.equivariant2019.principal import shuffled
from advbench_studies.equivariant2019.spectra import unit
from advbench_studies.equivariant2019.subspaces import TOP, Directions

FIRST = 20


@dataclass(frozen=True)
class TopShares(Analysis):
    """The gradients of every network, anew: one figure shows one analysis, and gradients are the cheap part."""

    name = "top-shares"

    rows: int = at_least(10, default=10_000)

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=tuple(NETWORKS.values()), data=(DATA,))

    def find(self, material: Material) -> Findings:
        judged = material.data(DATA).judge
        chosen = judged[shuffled(material, "rows", len(judged))[: self.rows]]
        images, labels = chosen.pixels(material.device), chosen.labels.to(material.device)
        shares, series, values = [], [], 0
        for place, (network, wanted) in enumerate(NETWORKS.items()):

            def heard(done: int, count: int, network: str = network, place: int = place) -> None:
                material.progress(
                    (place + done / count) / len(NETWORKS), f"{network}: gradients: {done:,} of {count:,}"
                )

            target = material.target(wanted.dataset, wanted.model, wanted.defense)
            directions = Directions(unit(gradients(target.logits, images, labels, heard)).cpu())
            shares.append(directions.share(f"top five · {network}", TOP))
            values = max(values, len(directions.whole.squares))
            held = 100 * directions.whole.shares.cumsum(0)
            series.append(Series.of(network, [(k + 1, float(held[k])) for k in range(min(FIRST, len(held)))]))
        lowest = min(shares, key=lambda one: one.value or 0.0)
        return Findings(
            (
                *shares,
                Finding("lowest of the three", lowest.value, lowest.low, lowest.high, lowest.n, "percent"),
                Finding("singular vectors", TOP),
                Finding("share of their number", 100 * TOP / values, n=values, unit="percent"),
                Finding("test inputs", len(images)),
            ),
            tuple(series),
        )
