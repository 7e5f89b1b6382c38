"""Stored outcomes come out as they are stored, or an area of the core says that it is another revision."""

from __future__ import annotations

import json
import math

import pytest
from battery import FILE, cells, found

from advbench.access import Access
from advbench.plugin import Attack
from advbench.revisions import REVISIONS
from advbench.threats import Threat

STORED = json.loads(FILE.read_text(encoding="utf-8"))
CELLS = {name: (attack, threat, targeted) for name, attack, threat, targeted in cells()}
NEAR = 1e-4
WALK = 5e-3
"""For who walks along a border by labels alone: one label that another processor finds otherwise turns the walk."""


def test_every_attack_is_in_it_and_nothing_else() -> None:
    assert list(STORED["found"]) == list(CELLS), "run `python tests/battery.py`"


def test_it_was_written_with_these_revisions() -> None:
    assert STORED["revisions"] == REVISIONS, "run `python tests/battery.py`"


@pytest.mark.parametrize("name", CELLS)
def test_what_is_found_is_what_is_stored(name: str) -> None:
    attack, threat, targeted = CELLS[name]
    now = found(attack, threat, targeted)
    why = "if the core has changed, raise its area in advbench.revisions; then run `python tests/battery.py`"
    assert [verdict for verdict, _ in now] == [verdict for verdict, _ in STORED["found"][name]], why
    near = WALK if attack.needs == Access.LABELS else NEAR
    for (_, size), (_, stored) in zip(now, STORED["found"][name], strict=True):
        assert math.isclose(size, stored, rel_tol=near, abs_tol=near), why


def test_a_change_of_a_projection_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: a ball that is a thousandth smaller."""
    name = next(name for name in CELLS if name.startswith("pgd linf untargeted"))
    attack, threat, targeted = CELLS[name]
    _assert_unlike(attack, threat.at(threat.eps * 0.999), targeted, name)


def _assert_unlike(attack: Attack, threat: Threat, targeted: bool, name: str) -> None:
    stored = STORED["found"][name]
    assert any(abs(a[1] - b[1]) > NEAR for a, b in zip(found(attack, threat, targeted), stored, strict=True))
