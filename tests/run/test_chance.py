"""Numbers of randomised targets: whatever ran before, and however a run is cut up, they stay the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbench import Access, DataFolders, Dataset, Defense, Examples, Model, Recipe
from advbench.audit.merging import Checking, merge
from advbench.audit.reproduction import reproduce
from advbench.audit.verification import verify
from advbench.engines.processes import Processes
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.problem.batches import BatchSize
from advbench.run.report import Reporter, Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
from advbench.suite.suite import suite_from_mapping
from advbench.target.answer import COMPANY, seeded
from advbench.target.clean import clean_pass
from advbench.target.identity import TargetPlan
from advbench.target.target import Target, prepare
from advbench.testing.stage import StageNet, data_of, images

pytestmark = pytest.mark.slow  # asks every image nine times

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)
SUITE: dict[str, Any] = {
    "data": "mnist-5k",
    "models": ["small-cnn"],
    "defenses": ["none", "gaussian-noise"],
    "attacks": ["pgd(steps=8)", "ddn(steps=20)"],
    "threats": ["l2(eps=1.5)"],
    "examples": 24,
    "shard": 10,
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


def ran(
    registry: Registry,
    path: Path,
    *,
    settings: Settings | None = None,
    reporter: Reporter | None = None,
    **changed: Any,
) -> Summary:
    with Store.open(path) as store:
        return run(
            suite_from_mapping({**SUITE, **changed}, registry), store, registry, settings or Settings(), reporter
        )


@dataclass(frozen=True)
class Facts:
    """What a database says, by keys."""

    verdicts: dict[tuple[Any, ...], tuple[Any, ...]]
    clean: dict[tuple[Any, ...], tuple[Any, ...]]
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    """Of the cells on randomised targets, whose shards nobody cuts otherwise: every bit of their perturbations."""

    @classmethod
    def of(cls, path: Path) -> Facts:
        with Store.open(path, readonly=True) as store:
            verdicts = store.rows("""
                SELECT c.key AS cell, t.key AS target, o.example, o.goal_label, o.reached, o.predicted
                FROM outcomes o JOIN cells c ON c.id = o.cell JOIN targets t ON t.id = o.target
            """)
            clean = store.rows("""
                SELECT t.key AS target, k.example, k.predicted
                FROM clean k JOIN targets t ON t.id = k.target
            """)
            shards = store.rows("""
                SELECT c.key AS cell, s.artifact FROM shards s JOIN cells c ON c.id = s.cell
                JOIN targets t ON t.key = c.source WHERE t.randomised ORDER BY s.shard
            """)
        artifacts: dict[str, list[str]] = {}
        for row in shards:
            artifacts.setdefault(row["cell"], []).append(row["artifact"])
        rows = [tuple(row.values()) for row in verdicts]
        return cls(
            {row[:3]: row[3:] for row in rows},
            {row[:2]: row[2:] for row in (tuple(row.values()) for row in clean)},
            artifacts,
        )

    def part(self, other: Facts) -> Facts:
        """Of these, what the other has a key for."""
        return Facts(
            {key: value for key, value in self.verdicts.items() if key in other.verdicts},
            {key: value for key, value in self.clean.items() if key in other.clean},
            {key: value for key, value in self.artifacts.items() if key in other.artifacts},
        )


@pytest.fixture(scope="module")
def whole(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chance") / "whole.sqlite"
    assert ran(registry, path).failed == []
    return path


def test_the_randomised_target_is_one_and_can_be_fooled(whole: Path) -> None:
    with Store.open(whole, readonly=True) as store:
        drawn = {row.label: row.draws for row in store.targets()}
        rates = [row["accuracy"] for row in store.rates("attack_accuracy")]
    assert drawn == {"small-cnn": 1, "small-cnn+gaussian-noise": 9}
    assert max(rates) < 0.9
    assert len(Facts.of(whole).artifacts) == 2


def test_what_is_stored_of_a_randomised_target_is_verified(registry: Registry, whole: Path) -> None:
    with Store.open(whole, readonly=True) as store:
        cells = store.cells()
        found = list(verify(store, registry, cells, folders=DataFolders.default(), device=CPU))
    assert [(one.label, one.differences, one.unchecked) for one in found if not one.sound] == []
    assert sum(one.outcomes for one in found) == 4 * 48 + 48


def test_every_cell_is_reproduced_to_the_last_verdict(registry: Registry, whole: Path) -> None:
    with Store.open(whole, readonly=True) as store:
        labels = {row.key: row.label for row in store.targets()}
        for cell in store.cells():
            others = [label for key, label in labels.items() if key != cell.source]
            found = reproduce(store, registry, cell, Settings(), on=others)
            assert [(number.target, number.differing) for number in found.numbers if not number.same] == []
            assert len(found.numbers) == 2
            assert found.other_versions == ""


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        (Settings(batch=8), {}),
        (Settings(batch=128), {"shard": 24}),
        (Settings(), {"shard": 7}),
        (Settings(), {"defenses": ["gaussian-noise"], "attacks": ["ddn(steps=20)"]}),
        (
            Settings(),
            {"attacks": ["ddn(steps=20)", "noise", "pgd(steps=8)"], "defenses": ["gaussian-noise", "jpeg", "none"]},
        ),
    ],
    ids=[
        "small passes",
        "large passes and shards",
        "small shards",
        "one cell alone",
        "a larger suite in another order",
    ],
)
def test_however_a_cell_is_run_it_has_one_key_and_one_number(
    registry: Registry, whole: Path, tmp_path: Path, settings: Settings, changed: dict[str, Any]
) -> None:
    path = tmp_path / "other.sqlite"
    torch.rand(3)  # whoever drew before
    said = Heard()
    assert ran(registry, path, settings=settings, reporter=said, **changed).failed == []
    expected, found = Facts.of(whole), Facts.of(path)
    shared = found.part(expected)
    assert len(shared.artifacts) == (1 if len(changed.get("attacks", "ab")) == 1 else 2)
    assert shared == expected.part(found)
    assert said.texts == [], "nobody ran out of memory"


class Heard(Reporter):
    """Remembers what was said, and counts shards."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.shards = 0

    def say(self, text: str) -> None:
        self.texts.append(text)

    def shard(self, examples: int, *, cached: bool) -> None:
        self.shards += 1


def test_a_process_of_its_own_changes_no_verdict(registry: Registry, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "isolated.sqlite"
    settings = Settings(engine=Processes(fresh=True))
    ran(registry, path, settings=settings, defenses=["gaussian-noise"], attacks=["ddn(steps=20)"])
    found = Facts.of(path)
    assert len(found.artifacts) == 1
    assert found == Facts.of(whole).part(found)


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(registry: Registry, tmp_path: Path) -> None:
    class Stopping(Heard):
        def shard(self, examples: int, *, cached: bool) -> None:
            super().shard(examples, cached=cached)
            stopped.append(True)

    stopped: list[bool] = []
    some = {"defenses": ["gaussian-noise"], "attacks": ["pgd(steps=3)"], "examples": 140}
    first = ran(
        registry, tmp_path / "cut", settings=Settings(interrupted=lambda: bool(stopped)), reporter=Stopping(), **some
    )
    assert first.interrupted
    begun = Facts.of(tmp_path / "cut")
    assert 0 < len(begun.verdicts) < 140
    torch.rand(5)
    again = ran(registry, tmp_path / "cut", **some, shard=64)
    assert (again.done, again.failed, again.interrupted) == (1, [], False)
    assert ran(registry, tmp_path / "uncut", **some).failed == []
    assert Facts.of(tmp_path / "cut") == Facts.of(tmp_path / "uncut")
    assert len(Facts.of(tmp_path / "uncut").verdicts) == 140


def test_a_newcomer_by_chance_judges_as_if_it_had_been_there(registry: Registry, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "late.sqlite"
    ran(registry, path, defenses=["none"])
    ran(registry, path)
    assert Facts.of(path) == Facts.of(whole)


def test_a_copy_is_refereed_and_merges_without_a_conflict(registry: Registry, whole: Path, tmp_path: Path) -> None:
    ran(registry, tmp_path / "mine.sqlite", settings=Settings(batch=16), attacks=["pgd(steps=8)"])
    checking = Checking(registry, DataFolders.default(), CPU)
    with Store.open(tmp_path / "mine.sqlite") as into, Store.open(whole, readonly=True) as origin:
        arrivals = list(merge(into, origin, "whole", checking, boards=False))
    assert [arrival.reasons for arrival in arrivals if arrival.refused] == []
    assert sorted(arrival.status for arrival in arrivals) == ["crafted", "crafted", "taken", "taken", "there", "there"]
    assert Facts.of(tmp_path / "mine.sqlite") == Facts.of(whole)


# Other randomised targets: a detector that suspects by chance, behind what draws while it is built


@dataclass(frozen=True)
class Moody(Defense):
    """Draws a direction when it is made, and suspects by chance."""

    name = "moody"
    detects = True
    differentiable = True

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return Pushed(net, torch.randn(SHAPE))

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return images.flatten(1).mean(1) + 0.2 * torch.rand(len(images))


class Pushed(nn.Module):
    def __init__(self, net: nn.Module, direction: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("direction", direction)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x + 0.1 * self.direction + 0.2 * torch.randn_like(x))
        return logits


@dataclass(frozen=True)
class Lent(Model):
    """A network that is there already."""

    name = "lent"
    offers = Access.ALL

    def build(self, dataset: Dataset) -> nn.Module:
        return StageNet(dataset.shape)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


def moody() -> Target:
    dataset = data_of(SHAPE)
    return prepare(
        TargetPlan(dataset, Lent(), (Moody(),)),
        dataset.load(DataFolders()),
        StageNet(SHAPE),
        weights_sha256="",
        origins={},
        false_positive_rate=0.1,
        device=CPU,
    )


def test_a_target_that_draws_while_it_is_made_is_the_same_whatever_ran_before() -> None:
    one = moody()
    torch.rand(11)
    other = moody()
    assert one.draws == other.draws == 9
    assert (one.key, one.threshold, one.scale) == (other.key, other.threshold, other.scale)
    assert torch.equal(one.net.direction, other.net.direction)  # type: ignore[arg-type]


def test_an_image_is_judged_alike_in_any_company() -> None:
    target = moody()
    x = images(2 * COMPANY + 10, SHAPE)
    places = torch.arange(len(x))
    together = target.answer(x, BatchSize(64), places)
    assert len(together.confidence.unique()) > 100
    for some in (places[3:5], places[60:70], places[::7], places.flip(0), places[-1:]):
        for size in (64, 16):
            apart = target.answer(x[some], BatchSize(size), some)
            for name in ("predicted", "suspicion", "least_likely", "finite"):
                assert torch.equal(getattr(apart, name), getattr(together, name)[some]), name
            assert torch.allclose(apart.confidence, together.confidence[some], atol=1e-5)


def test_clean_answers_are_the_same_for_any_number_of_examples() -> None:
    target = moody()
    every = Examples(images(1100, SHAPE), torch.zeros(1100, dtype=torch.int64), torch.arange(1100))
    whole = clean_pass(target, every, CPU)
    some = torch.tensor([2, 70, 1023, 1024, 1099])
    few = clean_pass(target, every[some], CPU, some)
    assert torch.equal(few.predicted, whole.predicted[some])
    assert few.suspicion is not None
    assert whole.suspicion is not None
    assert torch.equal(few.suspicion, whole.suspicion[some])
    assert torch.allclose(clean_pass(target, every[:90], CPU).confidence, whole.confidence[:90], atol=1e-5)


def test_only_generators_that_are_put_back_are_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("other devices keep this seed"))
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded("a place", torch.device("cpu")):
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)
