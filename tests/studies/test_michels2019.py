"""The study of Michels et al. (2019): its mathematics on known answers, and that nothing of the paper is left out."""

from __future__ import annotations

import math

import pytest
import torch

from advbench import Absent, Bound, Finding, Level, mean, share
from advbench.plugins.discovery import discover
from advbench.studies.performance import outline
from advbench.studies.published import publication
from advbench.study import LEVELS, Chart, Gallery, Missing, Ours, Table
from advbench_studies.michels2019 import Michels2019
from advbench_studies.michels2019.claims import follows, shorter_than
from advbench_studies.michels2019.cosines import alikeness, as_far_apart, cosines, left_out, nearest_alike
from advbench_studies.michels2019.crossed import crossed
from advbench_studies.michels2019.figure1 import GAP, triptych
from advbench_studies.michels2019.reaches import half
from advbench_studies.michels2019.readings import published
from advbench_studies.michels2019.suites import SIZES, documents
from advbench_studies.michels2019.tsne import (
    conditional_probabilities,
    divergence,
    embed,
    entropy,
    gradient,
    joint_probabilities,
    squared_distances,
)

STUDY = Michels2019()


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def clusters(gap: float) -> torch.Tensor:
    vectors = normal(20, 50)
    vectors[10:, 0] += gap
    return vectors


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("perplexity", [2.0, 5.0, 12.0])
def test_every_point_has_the_perplexity_that_was_asked(perplexity: float, scale: float) -> None:
    rows = conditional_probabilities(squared_distances(scale * normal(20, 30)), perplexity)
    assert entropy(rows).exp().squeeze(1).tolist() == pytest.approx([perplexity] * 20, rel=1e-4)
    assert rows.sum(1).tolist() == pytest.approx([1.0] * 20)
    assert rows.diagonal().tolist() == [0.0] * 20


def test_equal_distances_make_all_neighbours_equally_probable() -> None:
    """The corners of a simplex: whatever the bandwidth, all others are as near."""
    rows = conditional_probabilities(squared_distances(torch.eye(6, dtype=torch.double)), 3.0)
    assert rows[0, 1:].tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("perplexity", [0.5, 19.0, 30.0])
def test_a_perplexity_that_points_cannot_have_is_refused(perplexity: float) -> None:
    with pytest.raises(ValueError, match="20 points have no perplexity"):
        conditional_probabilities(squared_distances(normal(20, 3)), perplexity)


def test_the_gradient_of_t_sne_is_the_slope_of_its_divergence() -> None:
    joint = joint_probabilities(squared_distances(normal(9, 5)), 3.0)
    y, step = normal(9, 2, seed=1), 1e-6
    slope = gradient(joint, y)
    for i in range(9):
        for axis in range(2):
            ahead, behind = y.clone(), y.clone()
            ahead[i, axis] += step
            behind[i, axis] -= step
            seen = (divergence(joint, ahead) - divergence(joint, behind)) / (2 * step)
            assert slope[i, axis].item() == pytest.approx(seen, rel=1e-4, abs=1e-8)


def test_t_sne_keeps_two_far_clusters_apart() -> None:
    found = embed(clusters(100.0), 5.0, 1e-2 * normal(20, 2, seed=2))
    assert nearest_alike(squared_distances(found.points), [0] * 10 + [1] * 10) == 20
    centres = found.points[:10].mean(0), found.points[10:].mean(0)
    widths = [(found.points[:10] - centres[0]).norm(dim=1).max(), (found.points[10:] - centres[1]).norm(dim=1).max()]
    assert (centres[0] - centres[1]).norm() > max(widths)


def test_t_sne_ends_below_where_it_began() -> None:
    vectors, start = clusters(20.0), 1e-2 * normal(20, 2, seed=3)
    joint = joint_probabilities(squared_distances(vectors), 5.0)
    found = embed(vectors, 5.0, start)
    assert found.divergence < 0.5 * divergence(joint, start)
    assert found.divergence >= 0


def test_cosines_of_two_orthogonal_groups() -> None:
    e = torch.eye(4)
    pairs = cosines(torch.stack([e[0], 3 * e[0], e[1], 5 * e[1]]))
    found = alikeness(pairs, [range(2), range(2, 4)])
    assert found.within == pytest.approx((1.0, 1.0))
    assert found.between == pytest.approx(0.0)
    assert found.difference == pytest.approx(1.0)
    assert nearest_alike(-pairs, [0, 0, 1, 1]) == 4
    assert nearest_alike(-pairs, [0, 1, 0, 1]) == 0


def test_only_one_division_in_three_tears_two_pairs_apart_that_far() -> None:
    """Of six ways to choose two of four, those of the pairs themselves and of their complement: two in six."""
    e = torch.eye(4)
    pairs = cosines(torch.stack([e[0], e[0], e[1], e[1]]))
    found = as_far_apart(pairs, range(2), range(2, 4))
    assert (found.value, found.n) == (pytest.approx(100 / 3), 6)


def test_divisions_that_mean_nothing_are_not_rare() -> None:
    found = as_far_apart(cosines(normal(12, 400)), range(6), range(6, 12))
    assert found.n == math.comb(12, 6)
    assert found.value is not None
    assert found.value > 5


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    without = [(sum(values) - one) / 3 for one in values]
    found = left_out("mean", without, sum(values) / 4)
    spread = math.sqrt(sum((one - 4.0) ** 2 for one in values) / 3 / 4)
    assert found.low == pytest.approx(4.0 - 1.959963984540054 * spread)
    assert found.high == pytest.approx(4.0 + 1.959963984540054 * spread)


def test_a_triptych_shows_no_change_as_grey() -> None:
    clean = torch.zeros(1, 2, 2)
    moved = clean.clone()
    moved[0, 0, 0] = 1.0
    shown = triptych(clean, moved)
    assert shown.shape == (1, 2, 6 + 2 * GAP)
    assert shown[0, 0, -2:].tolist() == [1.0, 0.5]


def right(value: float) -> Finding:
    return Finding("right", value, n=10)


def test_the_radius_that_leaves_half_lies_behind_the_last_that_leaves_more() -> None:
    assert half("half", (1.0, 2.0, 4.0), [right(90), right(60), right(20)]) == Finding("half", 4.0, 2.0, 4.0, 10)
    assert half("half", (1.0, 2.0), [right(90), right(60)]) == Finding("half", None, 2.0, None, 10)


def test_a_size_below_a_radius_of_which_only_a_bound_is_known() -> None:
    open_ended = Finding("half", None, 2.0, None, 10)
    assert shorter_than(Finding("size", 1.0, 0.9, 1.1), open_ended).outcome == "holds"
    assert shorter_than(Finding("size", 3.0, 2.9, 3.1), open_ended).outcome == "undecided"
    assert shorter_than(Finding("size", 3.0, 2.9, 3.1), Finding("half", 2.0, 1.0, 2.0)).outcome == "fails"


def finding(low: float, high: float) -> Finding:
    return Finding("one", (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("sizes", "rates", "outcome"),
    [
        (((1, 2), (3, 4)), ((10, 20), (30, 40)), "holds"),
        (((3, 4), (1, 2)), ((30, 40), (10, 20)), "holds"),
        (((1, 2), (3, 4)), ((30, 40), (10, 20)), "fails"),
        (((1, 2), (3, 4)), ((10, 30), (20, 40)), "undecided"),
        (((1, 3), (2, 4)), ((10, 20), (30, 40)), "undecided"),
    ],
)
def test_transfer_follows_size_where_both_are_decided(
    sizes: tuple[tuple[float, float], ...], rates: tuple[tuple[float, float], ...], outcome: str
) -> None:
    verdict = follows([finding(*one) for one in sizes], [finding(*one) for one in rates])
    assert verdict.outcome == outcome


def test_what_the_page_says_of_the_printed_rates_is_so() -> None:
    """Boundary's and DeepFool's are never below the clean error of the network that is asked, in either reading."""
    rows = publication(STUDY).numbers
    error = {
        (one.columns["network"], one.columns["dataset"]): 100 - float(one.value)
        for one in rows
        if one.place == "Table 3"
    }
    seen = [row for row in published() if row["attack"] in ("Boundary", "DeepFool")]
    assert len(seen) == 16
    for row in seen:
        for network in ("ConvNet", "CapsNet"):
            assert row["value"] >= round(error[network, row["dataset"]], 1)


@pytest.mark.parametrize("level", LEVELS)
def test_every_number_has_a_finding_or_a_reason(level: Level) -> None:
    known = set(STUDY.analyses(level))
    numbers = publication(STUDY).numbers
    bound = [STUDY.binding(number, level) for number in numbers]
    assert len(numbers) == 72
    assert all(one.analysis in known if isinstance(one, Bound) else len(one.reason) > 40 for one in bound)
    absent = [n.columns["dataset"] for n, one in zip(numbers, bound, strict=True) if isinstance(one, Absent)]
    assert sorted(absent) == ([] if level == "paper" else ["CIFAR10"] * 18 + ["SVHN"] * 18)


@pytest.mark.parametrize("level", LEVELS)
def test_every_claim_has_a_judge_and_every_figure_is_shown(level: Level) -> None:
    paper = publication(STUDY)
    judges = STUDY.judges(level)
    assert set(judges) == {claim.id for claim in paper.claims}
    assert all(one.strongest is not None or one.why for one in judges.values())
    shows = [one for section in STUDY.sections(level) for one in section.shows]
    shown = {one.place for one in shows if isinstance(one, Table | Chart | Gallery | Missing)}
    assert set(paper.places) <= shown
    known = set(STUDY.analyses(level))
    assert {one.analysis for one in shows if isinstance(one, Chart | Gallery | Ours)} <= known


@pytest.mark.parametrize("level", LEVELS)
def test_suites_plan_and_their_attacks_are_written_as_findings_name_them(level: Level) -> None:
    laid_out = outline(STUDY, level, discover())
    assert laid_out.missing == {}
    for document in documents(level):
        plan = laid_out.plans[document["name"]]
        assert plan.reasons == ()
        asked = {
            label
            for ball in document["threats"]
            for label in (ball["l2"].get("attacks", []) if isinstance(ball, dict) else [])
        } | set(document.get("attacks", []))
        assert {cell.attack.label for cell in plan.cells} == asked


def test_the_paper_level_has_the_sizes_of_the_paper() -> None:
    sizes = SIZES["paper"]
    assert (sizes.cw_images, sizes.images, sizes.parts) == (500, 1000, 10)
    assert sizes.universal_images is None
    assert len(sizes.datasets) == 4


def test_a_mean_of_shares_is_never_surer_than_its_images() -> None:
    """Four perturbations that leave nothing wrong on sixteen images: as sure as of sixteen images, not as of all."""
    none = crossed("wrong", [0.0] * 4, 16)
    alone = share("wrong", 0, 16)
    assert (none.value, none.low, none.high) == (0.0, 0.0, pytest.approx(alone.high))
    spread, parts = crossed("wrong", [20.0, 40.0], 1000), mean("wrong", [20.0, 40.0])
    assert parts.low is not None
    assert spread.low is not None
    assert spread.low <= max(0.0, parts.low)
    assert crossed("wrong", [], 10).value is None
