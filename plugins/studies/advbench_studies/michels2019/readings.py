"""Table 2 in both of its readings: which one our measurements are nearer to, and the one that is not in the table.

The table has one row a network and does not say whether it is the network that is asked or the one that was attacked;
its caption calls the numbers of the universal attack accuracies, and the text fits them only as fooling rates or as
rows of the attacked network.

| reading | row | universal |
| --- | --- | --- |
| A | the network that is asked | the share of images that are wrong |
| B | the network that was attacked | the share of images that are right |
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from advbench import Analysis, Finding, Findings, Inputs, Material, Series, mean, share
from advbench_studies.michels2019.crossed import crossed
from advbench_studies.michels2019.networks import DATASETS, network, other
from advbench_studies.michels2019.suites import DEEPFOOL, SIZES
from advbench_studies.michels2019.universals import finished, parts_of

READINGS = ("A", "B")


def table() -> str:
    """The paper's numbers as they lie beside this module."""
    return (files(__package__) / "michels2019.yaml").read_text(encoding="utf-8")


def digest() -> str:
    """Of the paper's numbers: what an analysis that reads them depends on."""
    return hashlib.sha256(table().encode()).hexdigest()[:8]


def published() -> tuple[Mapping[str, Any], ...]:
    """The rows of table 2."""
    content = yaml.safe_load(table())
    rows: list[Mapping[str, Any]] = next(one["rows"] for one in content["tables"] if one["id"] == "Table 2")
    return tuple(rows)


@dataclass(frozen=True)
class Readings(Analysis):
    """The cells of table 2 in each reading, and how far the printed numbers are from them."""

    name = "readings"

    dataset: str = "mnist"
    paper: str = ""
    """The digest of the paper's numbers."""

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.dataset,))

    def find(self, material: Material) -> Findings:
        rows = [row for row in published() if DATASETS[row["dataset"]] == self.dataset]
        numbers: list[Finding] = []
        series: list[Series] = []
        for reading in READINGS:
            ours = [self._cell(material, reading, str(row["attack"]), str(row["network_as_printed"])) for row in rows]
            numbers += ours
            off = [
                abs(float(row["value"]) - one.value)
                for row, one in zip(rows, ours, strict=True)
                if one.value is not None
            ]
            numbers += [mean(f"{reading}: mean distance from the printed numbers", off, "points")]
            points = [
                (float(row["value"]), one.value, one.low or 0.0, one.high or 0.0)
                for row, one in zip(rows, ours, strict=True)
                if one.value is not None
            ]
            series += [Series.of(f"reading {reading}", points)]
        return Findings(tuple(numbers), tuple(series))

    def _cell(self, material: Material, reading: str, attack: str, row: str) -> Finding:
        source = other(row) if reading == "A" else row
        asked = other(source)
        name = f"{reading} · {attack} · row {row}: made for {source}, asked of {asked}"
        if attack == "Universal":
            return self._universal(material, name, source, asked, wrong=reading == "A")
        sizes = SIZES[material.level]
        label = {"CW": sizes.cw, "Boundary": sizes.boundary, "DeepFool": DEEPFOOL}[attack]
        cell = material.cell(self.dataset, model=network(source, self.dataset), attack=label)
        own = {one.example for one in cell.outcomes() if one.reached and one.violation is None}
        there = cell.outcomes(network(asked, self.dataset))
        return share(name, sum(bool(one.reached) and one.example in own for one in there), len(own))

    def _universal(self, material: Material, name: str, source: str, asked: str, *, wrong: bool) -> Finding:
        on = network(asked, self.dataset)
        cells = finished(parts_of(material, self.dataset, source))
        shares: list[float] = []
        for cell in cells:
            rows = cell.outcomes(on)
            right = 100.0 * sum(one.predicted == one.label for one in rows) / len(rows)
            shares.append(100.0 - right if wrong else right)
        return crossed(name, shares, len(cells[0].outcomes(on)) if cells else 0)
