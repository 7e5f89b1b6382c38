"""The study of D'Costa and Sriramanan: its mathematics on cases that are known, and that nothing is left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from advbench import Absent, Bound, Chart, Draws, Gallery, Level, Missing, Ours, Rates, RotateShift, Table
from advbench.findings import Finding
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.store.rows import CellRow, LabelledOutcome, TargetRow
from advbench.studies.performance import outline
from advbench.studies.published import publication
from advbench.study import LEVELS
from advbench_studies.dcosta2019 import DCosta2019, claims
from advbench_studies.dcosta2019.balls import Balls, gain_name, kept_name
from advbench_studies.dcosta2019.camera import blurred, photographed
from advbench_studies.dcosta2019.cliffs import Cliffs, width
from advbench_studies.dcosta2019.curves import falls
from advbench_studies.dcosta2019.deltas import shuffled
from advbench_studies.dcosta2019.descents import descend
from advbench_studies.dcosta2019.heat import correlations
from advbench_studies.dcosta2019.spectra import BANDS, bands, coarse, flat
from advbench_studies.dcosta2019.spreads import spread
from advbench_studies.dcosta2019.transport import distance, rounded

STUDY = DCosta2019()
PUBLICATION = publication(STUDY)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


def ink(*places: tuple[int, int], side: int = 12) -> Tensor:
    image = torch.zeros(side, side)
    for row, column in places:
        image[row, column] = 1.0
    return image


# Descents


@dataclass(frozen=True)
class Linear:
    """Two classes; the second one's logit grows by each pixel's weight."""

    weights: Tensor = field(default_factory=lambda: torch.tensor([2.0, -1.0, 0.5, -3.0]).view(1, 1, 2, 2))

    def __call__(self, images: Tensor) -> Tensor:
        rise = (images * self.weights).flatten(1).sum(1)
        return torch.stack((-rise, rise), 1)


@pytest.mark.parametrize(("rule", "rate"), [("adam", 0.05), ("sgd", 5.0), ("sign", 0.2)])
def test_every_rule_ends_in_the_corner_of_the_ball_where_a_linear_loss_is_lowest(rule: str, rate: float) -> None:
    x, aim, radius = torch.full((2, 1, 2, 2), 0.5), torch.tensor([1, 1]), torch.tensor([0.1, 0.2])
    ended = descend(Linear(), x, aim, radius, rule=rule, rate=rate, steps=60)
    corner = x + radius.view(-1, 1, 1, 1) * Linear().weights.sign()
    assert torch.allclose(ended.images, corner, atol=1e-6)
    assert ended.losses.shape == (61, 2)
    assert ended.losses[-1].lt(ended.losses[0]).all()


def test_a_descent_leaves_neither_ball_nor_box() -> None:
    x = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    radius = torch.linspace(0, 0.7, 8)
    ended = descend(Linear(), x, torch.ones(8).long(), radius, rule="adam", rate=0.3, steps=20).images
    assert ended.min() >= 0
    assert ended.max() <= 1
    assert ((ended - x).abs().flatten(1).amax(1) <= radius + 1e-6).all()


def test_a_rule_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule"):
        descend(Linear(), torch.zeros(1, 1, 2, 2), torch.tensor([1]), torch.ones(1), rule="newton", rate=1, steps=1)


def test_adam_takes_the_steps_of_the_attack_pgd() -> None:
    """The first step of Adam is as long as its rate in every pixel that has a gradient."""
    x = torch.full((1, 1, 2, 2), 0.5)
    ended = descend(Linear(), x, torch.tensor([1]), torch.ones(1), rule="adam", rate=0.001, steps=1).images
    assert torch.allclose((ended - x).abs(), torch.full_like(x, 0.001), atol=1e-6)


# Cliffs


def test_the_width_of_a_change_is_read_off_the_radii_where_it_begins_and_ends() -> None:
    radii = torch.tensor([10.0, 12.0, 13.0, 15.0, 16.0])
    own = torch.tensor([1.0, 0.97, 0.76, 0.02, 0.0])
    other = torch.tensor([0.0, 0.03, 0.24, 0.98, 1.0])
    found = width(radii, own, other)
    assert found is not None
    assert found == (15.0, pytest.approx(3 / 15))


def test_a_change_that_does_not_begin_or_end_has_no_width() -> None:
    radii, low, high = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3), torch.ones(3)
    assert width(radii, low, high) is None
    assert width(radii, high, low) is None
    assert width(radii, torch.tensor([0.95, 0.5, 0.5]), torch.tensor([0.0, 0.95, 0.5])) is None


def test_radii_grow_by_their_ratio_up_to_the_last() -> None:
    radii = Cliffs(first=2, last=16, ratio=2).radii
    assert radii == [2, 4, 8, 16]


# Transport


def test_a_shift_by_a_pixel_costs_one_and_by_three_pixels_nine() -> None:
    places = [(3, 3), (3, 4), (4, 3), (5, 6), (7, 2)]
    for rows, columns in ((0, 1), (1, 0), (1, 1), (0, 3)):
        found = distance(ink(*places), ink(*((row + rows, column + columns) for row, column in places)))
        assert found.low <= rows**2 + columns**2 + 1e-6
        assert found.high >= rows**2 + columns**2 - 1e-6
        assert found.high - found.low < 0.02


def test_an_image_is_at_no_distance_from_itself_however_bright() -> None:
    image = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))
    found = distance(image, 0.3 * image)
    assert 0 <= found.high < 0.02
    assert found.low <= found.high


def test_bounds_hold_the_distance_that_linear_programming_finds() -> None:
    ot = pytest.importorskip("ot", reason="POT is a test's oracle: pip install POT")
    generator = torch.Generator().manual_seed(2)
    one, other = (torch.rand(5, 6, generator=generator).double() for _ in range(2))
    places = torch.cartesian_prod(torch.arange(5), torch.arange(6)).double()
    cost = torch.cdist(places, places).square()
    a, b = (image.flatten() / image.sum() for image in (one, other))
    exact = ot.emd2(a.numpy(), b.numpy(), cost.numpy())
    found = distance(one, other)
    assert found.low - 1e-9 <= exact <= found.high + 1e-9
    assert found.high - found.low < 0.1


def test_a_rounded_plan_holds_what_both_images_hold() -> None:
    generator = torch.Generator().manual_seed(3)
    plan, a, b = (torch.rand(*shape, generator=generator).double() for shape in ((4, 5), (4,), (5,)))
    plan, a, b = plan / plan.sum(), a / a.sum(), b / b.sum()
    fitted = rounded(plan, a, b)
    assert torch.allclose(fitted.sum(1), a)
    assert torch.allclose(fitted.sum(0), b)
    assert (fitted >= 0).all()


# Spectra, cameras, gradients


def test_white_noise_has_the_same_energy_in_every_band_and_a_smooth_image_only_in_the_lowest() -> None:
    noise = torch.randn(50, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(bands(noise).mean(0), torch.full((BANDS,), 1 / BANDS).double(), atol=0.01)
    assert coarse(bands(noise)).mean().item() == pytest.approx(flat(), abs=0.02)
    wave = (torch.arange(32) * 2 * torch.pi / 32).sin().expand(1, 1, 32, 32)
    assert coarse(bands(wave)).item() == pytest.approx(1.0)
    assert bands(wave)[0].argmax() == 0  # one turn over 32 pixels: a frequency of 1/32, where the first band ends


def test_shuffled_changes_are_as_large_and_keep_the_colours_of_a_pixel_together() -> None:
    changes = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    other = shuffled(changes, Draws(0, "test", torch.arange(3)))
    assert not torch.equal(other, changes)
    for before, after in zip(changes.flatten(2), other.flatten(2), strict=True):
        assert {tuple(one) for one in before.T.tolist()} == {tuple(one) for one in after.T.tolist()}


def test_a_camera_of_no_strength_changes_nothing_and_one_of_strength_keeps_to_the_box() -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(6))
    assert torch.equal(photographed(images, 0.0, Draws(0, "test", torch.arange(2))), images)
    seen = photographed(images, 1.0, Draws(0, "test", torch.arange(2)))
    assert seen.shape == images.shape
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert not torch.equal(seen, images)


def test_blur_keeps_an_even_image_and_the_sum_of_a_point() -> None:
    assert torch.allclose(blurred(torch.full((1, 3, 9, 9), 0.4), 1.5), torch.full((1, 3, 9, 9), 0.4))
    point = torch.zeros(1, 1, 21, 21)
    point[0, 0, 10, 10] = 1
    assert blurred(point, 1.0).sum().item() == pytest.approx(1.0, abs=1e-5)


def test_correlations_are_one_of_the_same_and_minus_one_of_the_opposite() -> None:
    image = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(7))
    assert correlations(image, 3 * image + 1).item() == pytest.approx(1)
    assert correlations(image, -image).item() == pytest.approx(-1)
    assert correlations(image, torch.ones_like(image)).item() == 0


# Stored facts


@dataclass
class Cell:
    """A stored cell, as far as `Balls` looks."""

    row: CellRow
    source: TargetRow
    threat: str
    rows: list[LabelledOutcome]

    def outcomes(self) -> list[LabelledOutcome]:
        return self.rows


def cell(target: str, predicted: list[int], *, eps: float | None = 0.1, size: float = 0.1) -> Cell:
    """Of digits that are all of class 1."""
    blank = dict.fromkeys(CellRow.__dataclass_fields__, None)
    row = CellRow(**{**blank, "family": "linf", "eps": eps})  # type: ignore[arg-type]
    source = dict.fromkeys(TargetRow.__dataclass_fields__, None)
    outcomes = [
        LabelledOutcome(i, None, int(one != 1), one, 0.9, None, size, None, None, None, 1)
        for i, one in enumerate(predicted)
    ]
    threat = "linf" if eps is None else f"linf(eps={eps})"
    return Cell(row, TargetRow(**{**source, "key": target, "label": target}), threat, outcomes)  # type: ignore[arg-type]


class Shelf:
    def __init__(self, *cells: Cell) -> None:
        self._cells = cells

    def cells(self, suite: str, **wanted: str | None) -> tuple[Cell, ...]:
        return self._cells


def found(*cells: Cell) -> dict[str, Finding]:
    numbers = Balls(suites=("one",), base="plain").find(Shelf(*cells)).numbers  # type: ignore[arg-type]
    return {one.name: one for one in numbers}


def test_a_digit_is_right_where_no_attack_makes_it_wrong_and_gains_are_taken_digit_by_digit() -> None:
    numbers = found(
        cell("plain", [1, 1, 2, 2]),
        cell("plain", [1, 3, 1, 1]),
        cell("trained", [1, 1, 1, 2]),
        cell("plain", [1, 1, 1, 1]),
    )
    assert numbers[kept_name("plain", "linf(eps=0.1)")].value == 25
    assert numbers[kept_name("trained", "linf(eps=0.1)")].value == 75
    gain = numbers[gain_name("trained", "linf(eps=0.1)")]
    assert gain.value == 50
    assert gain.low is not None
    assert gain.low < 0  # of four digits nobody can tell


def test_the_smallest_perturbation_counts_in_the_balls_that_it_fits_into() -> None:
    for size, right in ((0.05, 0.0), (0.2, 100.0)):
        numbers = found(cell("plain", [1, 1]), cell("plain", [2, 2], eps=None, size=size))
        assert numbers[kept_name("plain", "linf(eps=0.1)")].value == right


def test_a_curve_that_never_falls_below_ninety_percent_has_no_radius_where_it_does() -> None:
    curve = [(1.0, Finding("", 95.0, n=4)), (2.0, Finding("", 80.0, n=4)), (3.0, Finding("", 99.0, n=4))]
    assert falls("c", curve).value == 2
    assert falls("c", curve[:1]).value is None


def test_one_example_is_enough_against_a_claim_that_there_is_none() -> None:
    assert claims.nobody(Finding("f", 0.0, 0.0, 1.0, 100)).outcome == "holds"
    assert claims.nobody(Finding("f", 1.0, 0.1, 3.0, 100)).outcome == "fails"
    assert claims.nobody(Finding("f", 0.0, 0.0, 39.0, 6)).outcome == "undecided"
    assert claims.nobody(Finding("f", None, n=0)).outcome == "undecided"


def test_single_images_are_told_by_their_median_and_the_limits_of_most_of_them() -> None:
    found = spread("f", range(101))
    assert (found.value, found.low, found.high, found.n) == (50, pytest.approx(5), pytest.approx(95), 101)
    assert spread("f", [1, 3]) == Finding("f", 2.0, n=2)
    assert spread("f", []).value is None


# Nothing is left out


@pytest.mark.parametrize("level", LEVELS)
def test_every_number_is_bound_to_an_analysis_of_the_study_or_absent_with_a_reason(level: Level) -> None:
    labels = {one.label for one in STUDY.analyses(level)}
    assert len(labels) == len(STUDY.analyses(level))
    bound = 0
    for number in PUBLICATION.numbers:
        binding = STUDY.binding(number, level)
        if isinstance(binding, Absent):
            assert len(binding.reason) > 20
        else:
            assert binding.analysis.label in labels, number
            bound += 1
    assert bound >= 60


@pytest.mark.parametrize("level", LEVELS)
def test_rates_are_bound_to_cells_that_are_planned(level: Level, registry: Registry) -> None:
    """A name that is one letter off would be absent on the page, with nobody to notice."""
    laid_out = outline(STUDY, level, registry)
    assert not {name: why for name, why in laid_out.missing.items() if "imagenet" not in why}
    for binding in (STUDY.binding(number, level) for number in PUBLICATION.numbers):
        if isinstance(binding, Bound) and isinstance(binding.analysis, Rates):
            cells = {
                (one.source.dataset.label, one.source.label, one.attack.label, one.threat.label)
                for one in laid_out.plans[binding.analysis.suite].cells
            }
            _, dataset, target, attack, threat = binding.finding.split(" · ")
            assert (dataset, target, attack.partition(" → ")[0], threat) in cells


@pytest.mark.parametrize("level", LEVELS)
def test_suites_that_analyses_read_are_there_and_every_claim_is_judged(level: Level) -> None:
    suites = {str(one["name"]) for one in STUDY.suites(level)}
    assert {name for one in STUDY.analyses(level) for name in one.inputs.suites} <= suites
    judged = STUDY.judges(level)
    assert set(judged) == {claim.id for claim in PUBLICATION.claims}
    assert all(one.strongest or one.why for one in judged.values())


@pytest.mark.parametrize("level", LEVELS)
def test_the_page_shows_every_table_and_figure_and_nothing_that_is_not_computed(level: Level) -> None:
    shown = [one for section in STUDY.sections(level) for one in section.shows]
    places = {one.place for one in shown if isinstance(one, Table | Chart | Gallery | Missing)}
    assert set(PUBLICATION.places) <= places
    labels = {one.label for one in STUDY.analyses(level)}
    assert {one.analysis.label for one in shown if isinstance(one, Chart | Gallery | Ours)} <= labels


def test_no_path_of_this_machine_is_named() -> None:
    for suite in STUDY.suites("paper"):
        assert not [model for model in suite["models"] if "weights=/" in model or "weights=~" in model]


def test_the_grids_are_every_half_degree_and_every_pixel() -> None:
    from advbench_studies.dcosta2019.suites import GRIDS

    for ball, grid in GRIDS:
        assert isinstance(ball, RotateShift)
        angles, shifts = (int("".join(filter(str.isdigit, part))) for part in grid.split(","))
        assert (2 * ball.degrees / 0.5 + 1, 2 * ball.pixels + 1) == (angles, shifts)
