"""What a study does with a suite or a network whose training would take long: it goes on without."""

from __future__ import annotations

import pytest
from toy_study import SUITE, Toy

from advbench import AdvbenchError, Store, Wanted
from advbench.plugins.discovery import discover
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.studies import performance
from advbench.studies.performance import Performance, _Stage, outline
from advbench.suite.plan import Plan

LONG = "small-cnn has no weights on this machine"


def stage(store: Store) -> _Stage:
    registry = discover()

    def settings_for(plan: Plan | None) -> Settings:
        return Settings()

    made = _Stage(
        outline(Toy(), "smoke", registry), store, registry, settings_for, Reporter(), Performance("toy", "smoke")
    )
    made._load()
    return made


def refuse(*given: object) -> None:
    raise AdvbenchError(LONG)


def test_a_suite_that_would_train_for_long_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "gather", refuse)
    with Store.memory() as store:
        made = stage(store)
        made._run(SUITE, made.laid_out.plans[SUITE])
    assert made.unfinished == {SUITE: LONG}
    assert not made.suites


def test_a_network_that_would_train_for_long_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "refuse_long_training", refuse)
    with Store.memory() as store:
        made = stage(store)
        targets, missing = made._targets(Settings())
    assert not targets
    assert missing == {Wanted("mnist-5k", "small-cnn"): LONG}
