"""One perturbation for all: how it is fitted, judged, stored and resumed, and how near the set-wide attacks come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advbench import Access, AdvbenchError, Attack, Data, Dataset, Examples, Model, Problem, Recipe, evaluate
from advbench.audit.verification import verify
from advbench.data import DataFolders
from advbench.plugins.registry import Registry
from advbench.problem.set_wide import SharedProblem
from advbench.run.report import Summary
from advbench.run.run import Settings, run
from advbench.store import Store, content
from advbench.suite.plan import make_plan
from advbench.suite.suite import Suite, suite_from_mapping
from advbench.target.referee import render
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import HalfSpace
from advbench.threats import L2, Linf, Threat
from advbench.threats.shared import Shared
from advbench_attacks import spectral
from advbench_attacks.pgd import PGD
from advbench_attacks.spectral import Spectral, principal
from advbench_attacks.universal import Universal
from advbench_attacks.universal_deepfool import UniversalDeepFool
from advbench_attacks.universal_pgd import UniversalPGD
from advbench_defenses.none import Undefended

SHAPE = (1, 8, 8)
DISTANCE = 0.2
PLANE = HalfSpace(SHAPE)


@dataclass(frozen=True)
class Beside(Dataset):
    """Images on one side of a plane, all as far from it."""

    name = "beside"
    shape = SHAPE
    class_names = ("there", "here")

    held_out: int = 10

    def load(self, folders: DataFolders) -> Data:
        ids = torch.arange(60)
        every = Examples(PLANE.beside(60, DISTANCE), torch.ones(60, dtype=torch.int64), ids)
        return Data(every[:20], every[20 : 20 + self.held_out], every[30:], "made here")

    def find(self, folders: DataFolders) -> str | None:
        return "made here"


@dataclass(frozen=True)
class Plane(Model):
    """Knows on which side an image lies."""

    name = "plane"

    sharpness: float = 1.0

    def build(self, dataset: Dataset) -> nn.Module:
        return Sharper(self.sharpness)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


class Sharper(nn.Module):
    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.plane, self.sharpness = HalfSpace(SHAPE), sharpness

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.sharpness * self.plane(x)
        return answer


@dataclass(frozen=True)
class Looking(Attack):
    """Remembers what it was shown."""

    name = "looking"
    threats = frozenset({"linf"})
    needs = Access.LABELS
    scope: ClassVar[Literal["example", "set"]] = "set"
    shown: ClassVar[list[Tensor]] = []

    def perturb(self, problem: Problem) -> Tensor:
        self.shown.append(problem.images)
        problem.labels(problem.start())
        return problem.start(random=True)


def registry() -> Registry:
    found = Registry()
    for attack in (PGD(), Universal(), UniversalPGD(), UniversalDeepFool(), Spectral(), Looking()):
        found.attacks[attack.label] = attack
    found.models["plane"] = Plane()
    found.defenses["none"] = Undefended()
    found.datasets["beside"] = Beside()
    return found


def suite(**changes: Any) -> Suite:
    margin = PLANE.margin("linf", DISTANCE)
    plain = {"data": "beside", "models": ["plane"], "attacks": ["universal"], "threats": [Linf(1.05 * margin)]}
    return suite_from_mapping({**plain, "shard": 7, **changes}, registry())


def execute(store: Store, wanted: Suite, **settings: Any) -> Summary:
    return run(wanted, store, registry(), replace(Settings(), **settings))


@pytest.fixture
def memory() -> Iterator[Store]:
    with Store.memory() as store:
        yield store


def beside(threat: Threat, images: slice) -> Scene:
    return scene(Shared.of(threat), shape=SHAPE, classes=2, net=PLANE, x=PLANE.beside(60, DISTANCE)[images])


def judged(attack: Attack, threat: Threat) -> tuple[int, float]:
    """Fitted on some images: how many of 30 others it fools, and how large it is."""
    verdicts = beside(threat, slice(30, None)).verdicts(beside(threat, slice(0, 30)).perturbed(attack, batch=64))
    assert not any(verdict.violation for verdict in verdicts)
    return sum(verdict.fooled for verdict in verdicts), verdicts[0].size


BALLS = {"linf": Linf(0.1), "l2": L2(0.1)}


@pytest.mark.parametrize("name", BALLS)
@pytest.mark.parametrize(
    "attack", [Universal(), UniversalPGD(), UniversalDeepFool(), Spectral()], ids=lambda attack: attack.label
)
def test_everybody_is_fooled_just_outside_a_known_margin_and_nobody_inside(attack: Attack, name: str) -> None:
    margin = PLANE.margin(name, DISTANCE)
    assert judged(attack, BALLS[name].at(1.05 * margin))[0] == 30
    assert judged(attack, BALLS[name].at(0.99 * margin))[0] == 0


@pytest.mark.parametrize("name", BALLS)
@pytest.mark.parametrize(
    "attack",
    [Universal(step=0.01, accuracy=0.0), UniversalDeepFool(rate=1.0), Spectral(radii=100)],
    ids=lambda attack: attack.name,
)
def test_a_vector_that_may_be_large_is_no_larger_than_it_must(attack: Attack, name: str) -> None:
    margin = PLANE.margin(name, DISTANCE)
    fooled, size = judged(attack, BALLS[name].at(3 * margin))
    assert fooled == 30
    assert margin < size <= 1.05 * margin


def test_the_principal_direction_is_numpys_top_singular_vector() -> None:
    for count in (5, 200):  # fewer and more rows than pixels
        rows = np.random.default_rng(count).normal(size=(count, 64)) + 0.4 * np.linspace(-1, 1, 64)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        expected = np.linalg.svd(unit)[2][0]
        found = principal(torch.tensor(rows).view(count, 1, 8, 8)).flatten().numpy()
        assert abs(float(found @ expected)) == pytest.approx(1, abs=1e-9)
        assert np.linalg.norm(found) == pytest.approx(1)


def test_deepfools_directions_do_not_depend_on_how_many_are_found_together(monkeypatch: pytest.MonkeyPatch) -> None:
    attack, stage = Spectral(directions="deepfool"), scene(Shared.of(L2(1.0)))
    together = stage.perturbed(attack)
    monkeypatch.setattr(spectral, "TOGETHER", 4)
    assert torch.equal(stage.perturbed(attack), together)


def test_directions_of_zero_are_no_principal_direction() -> None:
    assert not principal(torch.zeros(4, 1, 8, 8)).any()


def test_the_size_is_the_vectors_own_where_clipping_leaves_less_of_it() -> None:
    stage = scene(Shared.of(L2(1.0)), shape=SHAPE, x=torch.stack([torch.zeros(SHAPE), torch.full(SHAPE, 0.5)]))
    p = torch.full((1, *SHAPE), -0.1)
    black, grey = stage.verdicts(p)
    assert (black.violation, grey.violation) == (None, None)
    assert black.size == grey.size == pytest.approx(0.8)
    rendered = render(stage.threat, stage.images, p).images
    assert torch.equal(rendered[0], stage.images[0])


def test_a_vector_beyond_the_ball_is_a_violation_although_clipping_hides_it() -> None:
    stage = scene(Shared.of(Linf(0.1)), shape=SHAPE, x=torch.zeros(3, *SHAPE))
    assert {v.violation for v in stage.verdicts(torch.full((1, *SHAPE), -0.11))} == {"outside the ball"}


def test_one_row_is_asked_about_all_images_or_about_some_of_them() -> None:
    problem = scene(Shared.of(Linf(0.5)), count=5).problem(Universal(), SharedProblem)
    v = problem.project(torch.full((1, *SHAPE), 0.7))
    assert v.shape == problem.start().shape == (1, *SHAPE)
    assert float(v.max()) == 0.5
    some = torch.tensor([4, 1, 1])
    logits = problem.logits(v)
    assert torch.equal(problem.logits(v, of=some), logits[some])
    assert torch.equal(problem.logits(v.expand(3, *SHAPE), of=some), logits[some])
    assert torch.equal(problem.labels(v, of=some), logits[some].argmax(1))
    assert torch.equal(problem.gradient(v, of=some), problem.gradient(v)[some])
    assert torch.equal(problem.ascent(v, of=some), problem.ascent(v)[some])
    classes = torch.tensor([[0, 1], [2, 3], [4, 5]])
    assert problem.jacobian(v, classes, of=some).gradient.shape == (3, 2, *SHAPE)
    assert len(problem.active) == 5, "nobody leaves"


def test_a_pixel_that_is_cut_off_still_hears_from_the_images_that_it_is_cut_off_in() -> None:
    black = torch.zeros(2, *SHAPE)
    problem = scene(Shared.of(Linf(0.5)), classes=2, net=PLANE, x=black).problem(Universal(), SharedProblem)
    v = torch.full((1, *SHAPE), -0.3)
    assert torch.allclose(problem.gradient(v), problem.gradient(problem.start()))
    assert bool((problem.gradient(v) != 0).all())


def test_a_part_is_fitted_on_its_own_images_alone() -> None:
    stage = scene(Shared.of(Linf(0.1)), count=20)
    for part in range(4):
        problem = stage.problem(Universal(), SharedProblem)
        Universal(part=part, parts=4, steps=3, accuracy=0.0).perturb(problem)
        asked = problem.forwards.nonzero().squeeze(1).tolist()
        assert asked == list(range(5 * part, 5 * part + 5))
    with pytest.raises(AdvbenchError, match="part must be below parts = 4"):
        Universal(part=4, parts=4)


def test_with_signs_every_image_is_stepped_by_fgsm_and_in_linf_nothing_changes() -> None:
    one_step = {"steps": 1, "step": 0.25, "accuracy": 0.0}
    for threat in (Linf(0.5), L2(1.0)):
        stage = scene(Shared.of(threat), count=20)
        problem = stage.problem(Universal(), SharedProblem)
        gradients = problem.gradient(problem.start(), of=torch.arange(20)).flatten(1)
        unit = 1.0 if threat.name == "linf" else gradients.count_nonzero(1).float().rsqrt().view(-1, 1)
        fgsm = 0.25 * threat.eps * (gradients.sign() * unit).mean(0)
        signs, steepest = (
            Universal(rule=rule, **one_step).perturb(stage.problem(Universal(), SharedProblem))
            for rule in ("sign", "steepest")
        )
        assert torch.allclose(signs.flatten(), fgsm, atol=1e-6)
        assert torch.allclose(signs, steepest) is (threat.name == "linf")


def test_it_stops_below_half_of_the_accuracy_and_not_before() -> None:
    stage = scene(Shared.of(Linf(0.5)), count=40)

    def left(**changes: Any) -> int:
        v = Universal(steps=30, step=0.04, **changes).perturb(stage.problem(Universal(), SharedProblem))
        return sum(not verdict.reached for verdict in stage.verdicts(v))

    assert 10 < left() < 20
    assert left(accuracy=0.0) <= left()


# The run


def test_it_is_fitted_on_held_out_images_unless_the_suite_says_otherwise(memory: Store) -> None:
    data = Beside().load(DataFolders())
    for changes, part in (({}, data.calibrate), ({"fit": "train"}, data.train), ({"fit": "judge"}, data.judge)):
        Looking.shown.clear()
        execute(memory, suite(attacks=["looking"], **changes))
        (shown,) = Looking.shown
        assert torch.equal(shown, part.pixels()), "fitted once, on that part"
    execute(memory, suite(attacks=["looking"], fit="judge", examples=12))
    assert torch.equal(Looking.shown[-1], data.judge[:12].pixels()), "those that are judged"
    assert not any(bool((image == data.judge.pixels()).flatten(1).all(1).any()) for image in data.calibrate.pixels())
    fits = [row["fit"] for row in memory.rows("SELECT fit FROM cells ORDER BY id")]
    assert fits == ["calibrate", "train", "judge", "judge"]


def test_an_unknown_fitting_set_is_refused_by_its_name() -> None:
    with pytest.raises(AdvbenchError, match=r"fit: .*calibrate.*judge.*train.*'test'"):
        suite(fit="test")


def test_another_fitting_set_is_another_result_and_others_are_kept(memory: Store) -> None:
    execute(memory, suite(attacks=["universal", "pgd"]))
    summary = execute(memory, suite(attacks=["universal", "pgd"], fit="train"))
    assert (summary.done, summary.kept) == (1, 1)
    assert [row["fit"] for row in memory.rows("SELECT fit FROM cells WHERE attack = 'pgd'")] == [None]


def test_other_held_out_images_are_another_result(memory: Store) -> None:
    execute(memory, suite())
    assert execute(memory, suite(data="beside(held_out=9)")).kept == 0


def test_rates_and_worst_cases_count_it_like_any_attack(memory: Store) -> None:
    execute(memory, suite(attacks=["universal", "pgd"]))
    rates = {row["entrant"]: row for row in memory.rates("fooling")}
    assert (rates["universal"]["fooled"], rates["universal"]["n"]) == (30, 30)
    assert memory.rates("robust_accuracy")[0]["right"] == 0
    (cell,) = memory.rows("SELECT key, source FROM cells WHERE attack = 'universal'")
    outcomes = memory.outcomes(cell["key"], cell["source"])
    assert len({row.size for row in outcomes}) == 1
    assert not any(row.violation for row in outcomes)


def test_one_row_is_stored_and_no_copies_of_it(memory: Store) -> None:
    execute(memory, suite())
    (cell,) = memory.rows("SELECT key FROM cells")
    shards = memory.shards(cell["key"]).values()
    stored = [memory.artifacts.get(shard.artifact)["p.p"] for shard in shards]
    assert len(stored) == 5
    assert all(torch.equal(p, stored[0]) and len(p) == 1 for p in stored)
    assert [shard.forwards > 0 for shard in shards] == [True, False, False, False, False], "what it cost stands once"


def test_verify_referees_it_again_without_a_difference(memory: Store) -> None:
    execute(memory, suite(attacks=["universal", "universal-deepfool", "spectral", "pgd(steps=5)"]))
    cells = memory.cells()
    results = list(verify(memory, registry(), cells, folders=DataFolders(download=False), device=torch.device("cpu")))
    assert [(r.differences, r.unchecked) for r in results] == [([], "")] * 6, "a board, a target and four cells"
    assert sum(r.outcomes for r in results) == 5 * 30


@pytest.mark.parametrize("asked", range(3, 7))
def test_a_run_that_was_stopped_anywhere_and_resumed_knows_what_a_whole_one_knows(memory: Store, asked: int) -> None:
    calls = iter([False] * asked)
    wanted = suite(attacks=["universal-pgd(epochs=2)"])
    assert execute(memory, wanted, interrupted=lambda: next(calls, True)).interrupted
    execute(memory, wanted)
    with Store.memory() as whole:
        execute(whole, wanted)
        assert content(memory) == content(whole)


def test_what_was_fitted_is_not_fitted_again(memory: Store) -> None:
    Looking.shown.clear()
    calls = iter([False] * 5)
    execute(memory, suite(attacks=["looking"]), interrupted=lambda: next(calls, True))
    assert 0 < len(memory.rows("SELECT * FROM shards")) < 5
    assert len(Looking.shown) == 1
    execute(memory, suite(attacks=["looking"]))
    assert len(memory.rows("SELECT * FROM shards")) == 5
    assert len(Looking.shown) == 1


def test_a_later_target_is_judged_on_the_stored_vector(memory: Store) -> None:
    execute(memory, suite())
    execute(memory, suite(models=["plane", "plane(sharpness=2)"]))
    with Store.memory() as whole:
        execute(whole, suite(models=["plane", "plane(sharpness=2)"]))
        assert content(memory) == content(whole)
        assert all(row["fooled"] == 30 for row in whole.rates("transfer"))


def test_a_class_can_be_aimed_at_and_a_class_for_each_image_can_not(memory: Store) -> None:
    wanted = suite(goals=["class=0", "class=1", "random", "least-likely"])
    assert {skip.reason for skip in make_plan(wanted).skips} == {
        f"universal looks for one perturbation for all images, and {goal} is another class for each"
        for goal in ("random", "least-likely")
    }
    assert execute(memory, wanted).failed == []
    assert {row["entrant"]: row["fooled"] for row in memory.rates("fooling")} == {"universal → class=0": 30}
    assert memory.rates("robust_accuracy")[0]["right"] == 0, "ranked although some goals are not its own"


def test_a_ball_in_which_every_image_has_its_own_perturbations_is_skipped_with_the_reason() -> None:
    @dataclass(frozen=True)
    class Everywhere(Looking):
        name = "everywhere"
        threats = frozenset({"linf", "rotate-shift"})

    found = registry()
    found.attacks["everywhere"] = Everywhere()
    wanted = suite_from_mapping(
        {"data": "beside", "models": "plane", "attacks": "everywhere", "threats": ["rotate-shift"]}, found
    )
    (skip,) = make_plan(wanted).skips
    assert skip.reason == "everywhere looks for one perturbation for all images, and in rotate-shift each has its own"


def test_several_perturbations_for_a_set_are_refused(memory: Store) -> None:
    @dataclass(frozen=True)
    class Many(Looking):
        name = "many"

        def perturb(self, problem: Problem) -> Tensor:
            return torch.zeros_like(problem.images)

    found = registry()
    found.attacks["many"] = Many()
    plain = {"data": "beside", "models": "plane", "attacks": "many", "threats": ["linf"]}
    summary = run(suite_from_mapping(plain, found), memory, found, Settings())
    ((_, reason),) = summary.failed
    assert reason == "many: `perturb` returned shape (10, 1, 8, 8) where (1, 1, 8, 8) was due"


# The Python door


def test_evaluate_fits_on_calibrate_and_says_so_where_there_is_none() -> None:
    data = Beside().load(DataFolders())
    threat = Linf(1.05 * PLANE.margin("linf", DISTANCE))
    images, labels = data.judge.images, data.judge.labels
    held_out = data.calibrate.images, data.calibrate.labels
    found = evaluate(PLANE, images, labels, threats=threat, attacks=[Universal()], calibrate=held_out)
    assert found.rates[0]["accuracy"] == 0
    with pytest.raises(AdvbenchError, match=r"universal: .* none there; in Python give calibrate="):
        evaluate(PLANE, images, labels, threats=threat, attacks=[Universal()])
    found = evaluate(PLANE, images, labels, threats=threat, attacks=[Universal()], fit="judge")
    assert found.rates[0]["accuracy"] == 0


def test_it_fools_unseen_digits_of_a_robust_network(shared_data: Path) -> None:
    """The l-infinity network of Wong et al. is right on 12 % of other digits under one vector of 0.3 (measured)."""
    weights = shared_data / "wong2019_mnist" / "mnist_robust.safetensors"
    found = evaluate(
        f'wong2019(weights="{weights}")',
        dataset="mnist",
        threats=["linf(eps=0.3)"],
        attacks=["universal-pgd(epochs=1)"],
        examples=200,
        data=[shared_data],
    )
    (row,) = found.rates
    assert row["accuracy"] < 0.2
