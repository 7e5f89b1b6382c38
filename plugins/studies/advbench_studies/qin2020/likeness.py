"""Whether undetected attacks look like their target class to a network that took no part (claim of section 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from advbench import Analysis, Findings, Inputs, Material, Wanted, share
from advbench_studies.qin2020.detection import strongest
from advbench_studies.qin2020.sizes import MNIST
from advbench_studies.qin2020.suites import named

WITNESS = "convnet"


def likeness_name(what: str, network: str, attack: str) -> str:
    """The name of a finding of `Likeness`."""
    return f"{what} · {network} · {attack}"


@dataclass(frozen=True)
class Likeness(Analysis):
    """What an independent convolutional network says of undetected successes of targeted R-PGD and of `aware`."""

    name = "likeness"

    network: str = ""

    @property
    def inputs(self) -> Inputs:
        return Inputs((named("r-pgd", MNIST, self.network),), (Wanted(MNIST, WITNESS),))

    def find(self, material: Material) -> Findings:
        cells = material.cells(self.inputs.suites[0], goal="random")
        found = Findings()
        groups = {
            "R-PGD": [cell for cell in cells if "beta" in (cell.row.attack_params or {})],
            "aware": [cell for cell in cells if "beta" not in (cell.row.attack_params or {})],
        }
        witness = material.target(MNIST, WITNESS)
        for attack, group in groups.items():
            if not group:
                continue
            cell = strongest(group)
            threshold = cell.source.threshold or 0.0
            goals = {
                row.example: row.goal_label
                for row in cell.outcomes()
                if row.reached and row.violation is None and not (row.suspicion or 0.0) > threshold
            }
            there = cell.perturbed()
            kept = [place for place, one in enumerate(there.ids.tolist()) if one in goals]
            said = torch.empty(0, dtype=torch.long)
            if kept:
                with torch.no_grad():
                    said = witness.logits(there.images[kept].float().to(material.device)).argmax(1).cpu()
            wanted = torch.tensor([goals[int(there.ids[place])] for place in kept], dtype=torch.long)
            n = len(kept)
            as_wanted, as_it_is = int((said == wanted).sum()), int((said == there.labels[kept]).sum())
            found += Findings(
                (
                    share(likeness_name("target label", self.network, attack), as_wanted, n),
                    share(likeness_name("true label", self.network, attack), as_it_is, n),
                )
            )
        return found
