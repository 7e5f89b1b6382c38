"""The networks of Wong et al. (2019), whose accuracy under attack stands beside their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from advbench import evaluate

# travel is the README's step times 40, in radii: steps of 0.005 in 0.1 and of 0.01 in 0.3
PUBLISHED = {
    "vanilla": {"linf(eps=0.1)": 16.3, "linf(eps=0.3)": 0.0},
    "robust": {"linf(eps=0.1)": 95.5},
    "adv_training": {"linf(eps=0.1)": 0.0, "linf(eps=0.3)": 0.0},
    "binarize": {"linf(eps=0.1)": 15.6, "linf(eps=0.3)": 0.0},
}
TRAVEL = {"linf(eps=0.1)": 2.0, "linf(eps=0.3)": 4 / 3}


CASES = [
    pytest.param(name, threat, marks=pytest.mark.exhaustive if name == "vanilla" else pytest.mark.slow)
    for name, published in PUBLISHED.items()
    for threat in published
]


@pytest.mark.parametrize(("name", "threat"), CASES)
def test_a_weights_file_of_a_stranger_gives_the_accuracy_that_was_measured_for_it(
    shared_data: Path, name: str, threat: str
) -> None:
    weights = shared_data / "wong2019_mnist" / f"mnist_{name}.safetensors"
    found = evaluate(
        f'wong2019(weights="{weights}")',
        dataset="mnist",
        threats=[threat],
        attacks=[f"pgd(steps=40, travel={TRAVEL[threat]!r})"],
        examples=1000,
        data=[shared_data],
    )
    (row,) = found.rates
    assert row["n"] == 1000
    assert 100 * row["accuracy"] == pytest.approx(PUBLISHED[name][threat], abs=1.0)
