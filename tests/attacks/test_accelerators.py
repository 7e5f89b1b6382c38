"""What would fail, or stand still, on a GPU: tensors made on the wrong device, and waits outside of named places."""

from __future__ import annotations

import pytest
import torch
from battery import cells

from advbench import Access
from advbench.pace import as_on_an_accelerator
from advbench.plugin import Attack
from advbench.problem.buckets import EVERY
from advbench.problem.successes import Answers
from advbench.testing.accelerators import makes_tensors_where_the_data_lie
from advbench.testing.kernels import by_pass
from advbench.testing.scene import scene
from advbench.threats import Threat

CELLS = {name: (attack, threat) for name, attack, threat, targeted in cells() if not targeted}

WAITS = {
    "buckets._end_of_pass: nonzero": "who is left, at the end of a bucket",
    "buckets.staying: nonzero": "who wants to stay, in every eighth step of an attack that has an end of its own",
    "brendel_bethge.shortest: index": "which walks go on, once",
    "cw._turned: nonzero": "whose search is over, in a tenth of a round's steps (20 by default)",
    "rubbish.perturb: index": "who is not yet sure enough leaves in every step, twice",
}
"""In the balls of norms and of transformations, for attacks that are told gradients and mind no detector."""
SPARSE = ("tolls.", "transport.", "wasserstein.", "entropic.")
"""Where plans of transport are made: they are sparse, and their shapes are values."""


def slopes() -> list[str]:
    return [
        name
        for name, (attack, _) in CELLS.items()
        if Access.GRADIENTS in attack.needs and Access.SUSPICION not in attack.needs and attack.scope == "example"
    ]


@pytest.mark.parametrize("name", CELLS)
def test_every_attack_makes_its_tensors_where_the_data_lie(name: str) -> None:
    makes_tensors_where_the_data_lie(*CELLS[name])
    assert torch.get_default_device().type == "cpu"


def waits(attack: Attack, threat: Threat) -> tuple[dict[str, int], int]:
    stage = scene(threat, count=3)

    def run(answers: Answers) -> None:
        with as_on_an_accelerator():
            problem = stage.problem(attack, target=answers)
            if not problem.done:
                attack.perturb(problem)

    passes = by_pass(stage.target, run)
    places: dict[str, int] = {}
    for one in passes:
        for place, times in one.places.items():
            places[place] = places.get(place, 0) + times
    return places, len(passes)


@pytest.mark.parametrize("name", slopes())
def test_gradient_attacks_wait_in_named_places_alone(name: str) -> None:
    attack, threat = CELLS[name]
    places, passes = waits(attack, threat)
    strange = [
        place
        for place in places
        if place not in WAITS and not (threat.name == "wasserstein" and place.startswith(SPARSE))
    ]
    assert not strange
    buckets = sum(times for place, times in places.items() if place.startswith("buckets."))
    assert buckets <= passes / EVERY + 1


def test_a_wait_elsewhere_is_found() -> None:
    class Looks(type(CELLS["pgd linf untargeted"][0])):  # type: ignore[misc]
        def perturb(self, problem):  # type: ignore[no-untyped-def]
            for _ in range(3):
                bool(problem.logits(problem.start()).isnan().any())
            return problem.start()

    places, _ = waits(Looks(), CELLS["pgd linf untargeted"][1])
    assert set(places) - set(WAITS) == {"test_accelerators.perturb: _local_scalar_dense"}
