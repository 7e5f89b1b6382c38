"""What the core's part in studies finds, held against what it found when its revision was numbered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from toy_study import Toy

from advbench.plugins.discovery import discover
from advbench.revisions import REVISIONS
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.study_rows import findings, performed
from advbench.studies.performance import outline, perform_study

FOUND = {
    "success · fgsm · linf(eps=0.1)": (68.75, 44.40436, 85.83536),
    "fooled · fgsm · linf(eps=0.1)": (68.75, 44.40436, 85.83536),
    "confident · fgsm · linf(eps=0.1)": (68.75, 44.40436, 85.83536),
    "right · fgsm · linf(eps=0.1)": (31.25, 14.16464, 55.59564),
    "clean · fgsm · linf(eps=0.1)": (100.0, 80.63923, 100.0),
    "size · fgsm · linf(eps=0.1)": (0.1, None, None),
    "success · pgd(steps=3) · linf(eps=0.1)": (75.0, 50.50168, 89.81793),
    "fooled · pgd(steps=3) · linf(eps=0.1)": (75.0, 50.50168, 89.81793),
    "confident · pgd(steps=3) · linf(eps=0.1)": (75.0, 50.50168, 89.81793),
    "right · pgd(steps=3) · linf(eps=0.1)": (25.0, 10.18207, 49.49832),
    "clean · pgd(steps=3) · linf(eps=0.1)": (100.0, 80.63923, 100.0),
    "size · pgd(steps=3) · linf(eps=0.1)": (0.1, None, None),
    "highest": (17.26808, 11.45428, 23.08188),
}
"""Value, low and high of findings of the toy, without the data set, target and ball in their names."""


def test_findings_are_those_of_the_revision() -> None:
    """Where a number moves, raise `studies` in `advbench.revisions`: else old findings stand for new ones."""
    registry = replace(discover(), studies={"toy": Toy()})
    with Store.memory() as store:
        perform_study(outline(Toy(), "smoke", registry), store, registry, lambda plan: Settings(), Reporter())
        (study,) = performed(store)
        rows = [row for one in study.analyses for row in findings(store, one.analysis or "").values()]
    found = {row.name.replace(" · mnist-5k · small-cnn", ""): (row.value, row.low, row.high) for row in rows}
    assert REVISIONS["studies"] == 1
    assert found == {name: pytest.approx(numbers, abs=1e-4) for name, numbers in FOUND.items()}
