"""`docs/suites/everything.yaml`: every built-in pair runs or says why not."""

from __future__ import annotations

import itertools
from pathlib import Path

import covering
import pytest

from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.plugins.values import core_threat
from advbench.suite.plan import Plan, make_plan
from advbench.suite.suite import Suite, load_suite
from advbench.target.identity import chain_label
from advbench.threats import advbench_threats

FILE = Path(__file__).parents[2] / "docs" / "suites" / "everything.yaml"


@pytest.fixture(scope="module")
def registry() -> Registry:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVBENCH_PLUGINS", "builtin")
        return discover()


@pytest.fixture(scope="module")
def suite(registry: Registry) -> Suite:
    return load_suite(str(FILE), registry)


@pytest.fixture(scope="module")
def planned(suite: Suite) -> Plan:
    return make_plan(suite)


def test_nothing_that_ships_is_missing(registry: Registry, suite: Suite) -> None:
    assert {model.name for model in suite.models} == set(registry.models)
    assert {chain[0].name for chain in suite.defenses} == set(registry.defenses)
    for board in suite.boards:
        assert {attack.label for attack in board.attacks} == set(registry.attacks)
    assert {board.threat.name for board in suite.boards} == {ball.name for ball in advbench_threats()}


def test_the_covering_set_leaves_no_ball_of_the_core_out() -> None:
    assert {core_threat(ball).name for ball in covering.BALLS} == {ball.name for ball in advbench_threats()}


def test_every_pair_runs_or_has_a_reason(suite: Suite, planned: Plan) -> None:
    cells = {(cell.source.label, cell.attack.label, cell.threat.name, cell.goal) for cell in planned.cells}
    reasons = {(s.model, s.defenses, s.attack, s.threat.partition("/")[0], s.goal): s.reason for s in planned.skips}
    no_target = {(s.model, s.defenses): s.reason for s in planned.skips if not s.attack}
    for model, chain in itertools.product(suite.models, suite.defenses):
        source = next((t.label for t in planned.targets if (t.model, t.defenses) == (model, chain)), None)
        assert (source is None) == bool(no_target.get((model.label, chain_label(chain))))
        for board in suite.boards if source else ():
            for attack, goal in itertools.product(board.attacks, board.goals):
                runs = (source, attack.label, board.threat.name, goal) in cells
                reason = reasons.get((model.label, chain_label(chain), attack.label, board.threat.name, goal))
                assert runs != bool(reason), (source, attack.label, board.threat.name, goal, reason)


def test_everybody_runs_somewhere(suite: Suite, planned: Plan) -> None:
    assert {cell.attack for cell in planned.cells} == set(suite.boards[0].attacks)
    shape = suite.boards[0].dataset.shape  # a network for photos alone says why it takes no digits
    assert {target.model for target in planned.targets} == {one for one in suite.models if one.shape in (None, shape)}
    assert {target.defenses for target in planned.targets} == set(suite.defenses)


@pytest.mark.parametrize("file", sorted({*FILE.parent.glob("*.yaml")} - {FILE}), ids=lambda file: file.stem)
def test_the_other_suites_of_the_documentation_leave_nothing_out(file: Path, registry: Registry) -> None:
    laid_out = make_plan(load_suite(str(file), registry))
    assert laid_out.cells
    assert not laid_out.skips
