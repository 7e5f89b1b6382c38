"""The study of Qin et al. (2020): known answers of its arithmetic, and that nothing published is left out."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from advbench import Absent, AdvbenchError, Bound, Finding, Level, Rates
from advbench.plugins.discovery import discover
from advbench.studies.performance import Outline, outline
from advbench.studies.published import publication
from advbench.study import LEVELS, Chart, Gallery, Missing, Ours, Table
from advbench_studies.qin2020 import Qin2020
from advbench_studies.qin2020.arithmetic import (
    area,
    area_interval,
    correlation,
    densities,
    jackknife,
    overlap,
    ranks,
    share_below,
    spread_beyond_chance,
)
from advbench_studies.qin2020.betas import AnyAttack, Betas, Counted, best, best_name, without_beta
from advbench_studies.qin2020.claims import no_more
from advbench_studies.qin2020.detection import Distances, strongest
from advbench_studies.qin2020.galleries import Attacked
from advbench_studies.qin2020.mosaic import boxes, framed, rows_of
from advbench_studies.qin2020.sizes import SIZES
from advbench_studies.qin2020.suites import aware

STUDY = Qin2020()
PAPER = publication(STUDY)


@pytest.fixture(scope="module")
def outlines() -> dict[Level, Outline]:
    registry = discover()
    return {level: outline(STUDY, level, registry) for level in LEVELS}


def test_the_area_counts_pairs_and_halves_ties() -> None:
    assert area([1, 2], [3, 4]) == 1
    assert area([3, 4], [1, 2]) == 0
    assert area([1, 2], [1, 2]) == 0.5
    assert area([1, 3], [2]) == 0.5
    assert math.isnan(area([], [1]))


def test_the_interval_of_an_area_is_narrow_for_many_and_holds_the_area() -> None:
    few, many = area_interval(0.8, 10, 10), area_interval(0.8, 1000, 1000)
    assert few[0] < many[0] < 0.8 < many[1] < few[1]
    assert area_interval(1.0, 50, 5000) == (pytest.approx(0.94), 1.0)


def test_overlap_of_equal_and_of_apart_lists() -> None:
    assert overlap([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
    assert overlap([0, 0.1], [5, 5.1]) == 0


def test_densities_sum_to_one_inside_the_range() -> None:
    found = densities([0.1, 0.1, 0.9], 0, 1, bins=2)
    assert found == [(0.25, pytest.approx(2 / 3)), (0.75, pytest.approx(1 / 3))]


def test_ranks_share_ties_and_correlations_are_signed() -> None:
    assert ranks([10, 30, 10]).tolist() == [0.5, 2, 0.5]
    assert correlation([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert correlation([1, 2, 3, 4], [5, 4, 3, 1]) == pytest.approx(-1)
    assert math.isnan(correlation([1, 1], [1, 2]))


def test_the_spread_is_what_chance_does_not_explain() -> None:
    draws = np.random.default_rng(0)
    counts = np.full(20_000, 12)
    alike = spread_beyond_chance(draws.binomial(12, 0.5, 20_000), counts)
    two_kinds = spread_beyond_chance(draws.binomial(12, np.tile([0.3, 0.7], 10_000)), counts)
    assert alike < 2
    assert two_kinds == pytest.approx(20, abs=0.6)


def test_shares_below_thresholds() -> None:
    assert share_below([1, 2, 3, 4], [0, 2, 9]).tolist() == [0, 0.5, 1]


def test_the_jackknife_of_a_mean_is_the_usual_interval() -> None:
    values = np.random.default_rng(1).normal(size=200)
    without = [(values.sum() - one) / 199 for one in values]
    low, high = jackknife(float(values.mean()), without)
    wide = 1.96 * values.std(ddof=1) / math.sqrt(200)
    assert (low, high) == (pytest.approx(values.mean() - wide), pytest.approx(values.mean() + wide))


def test_the_label_without_beta() -> None:
    assert without_beta("r-pgd(beta=0.75, steps=1000)") == "r-pgd(steps=1000)"
    assert without_beta("r-fgsm(beta=0.25)") == "r-fgsm"
    assert without_beta("r-pgd(stages=1, steps=8)") == "r-pgd(stages=1, steps=8)"


def test_the_best_beta_is_the_one_that_most_goes_undetected_by() -> None:
    loud = Counted(0.9, frozenset(range(10)), frozenset({1}), 10)
    silent = Counted(0.5, frozenset({1, 2}), frozenset({1, 2}), 10)
    assert best([loud, silent]) is silent


def outcome(example: int, reached: bool, suspicion: float, violation: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(example=example, reached=int(reached), suspicion=suspicion, violation=violation)


def cell(beta: float | None, *rows: SimpleNamespace) -> Any:
    """What `Betas` asks of a cell, judged on its own target, whose detector flags above 2."""
    source = SimpleNamespace(key="own", label="net+reconstruction", defenses="reconstruction", threshold=2.0)
    label = "aware" if beta is None else f"r-pgd(beta={beta}, steps=9)"
    return SimpleNamespace(
        attack=label,
        goal="random",
        dataset="mnist",
        source=source,
        judges={source.label: source},
        row=SimpleNamespace(attack_params={} if beta is None else {"beta": beta}, minimizes=0),
        outcomes=lambda on="": list(rows),
    )


def test_betas_count_what_the_detector_lets_pass() -> None:
    loud = cell(0.9, outcome(0, True, 2.1), outcome(1, True, 2.0), outcome(2, True, 9.0), outcome(3, True, 1.0, "far"))
    quiet = cell(0.5, outcome(0, True, 1.0), outcome(1, False, 0.1), outcome(2, True, 2.0), outcome(3, False, 0.0))
    other = cell(None, outcome(0, True, 0.0))
    found = Betas("s").find(cast("Any", SimpleNamespace(cells=lambda suite: (loud, quiet, other))))
    values = {one.name.split(" · ")[0]: (one.value, one.n) for one in found.numbers}
    assert values == {
        "beta": (0.5, None),
        "success": (50.0, 4),
        "undetected": (50.0, 4),
        "success by any β": (75.0, 4),
        "undetected by any β": (75.0, 4),
    }
    assert found.numbers[0].name == best_name("success", "mnist", "net+reconstruction", "r-pgd(steps=9)", "random")
    (success, undetected) = found.series
    assert [(point.x, point.y) for point in success.points] == [(0.5, 50.0), (0.9, 75.0)]
    assert [(point.x, point.y) for point in undetected.points] == [(0.5, 50.0), (0.9, 25.0)]
    assert strongest([loud, quiet]) is quiet


def test_any_attack_joins_suites_of_different_sizes() -> None:
    small = cell(0.5, outcome(0, True, 9.0), outcome(1, False, 0.0))
    large = cell(None, outcome(0, False, 0.0), outcome(1, True, 1.0), outcome(2, True, 0.0))
    cells = {"a": (small,), "b": (large,)}
    found = AnyAttack("a b").find(cast("Any", SimpleNamespace(cells=cells.__getitem__)))
    assert [(one.value, one.n) for one in found.numbers] == [(100.0, 2), (50.0, 2)]


def test_no_more_needs_both_intervals_inside_the_margin() -> None:
    nothing, much = Finding("a", 0.0, 0.0, 3.7, 100), Finding("b", 80.0, 71.0, 87.0, 100)
    assert no_more(nothing, nothing).outcome == "holds"
    assert no_more(nothing, much).outcome == "holds"
    assert no_more(much, nothing).outcome == "fails"
    assert no_more(Finding("c", 5.0, 0.0, 20.0, 12), nothing).outcome == "undecided"
    assert no_more(Finding("d", None), nothing).outcome == "undecided"


def test_pictures_are_put_together() -> None:
    image = framed(torch.zeros(1, 4, 6))
    assert image.shape == (3, 8, 10)
    assert rows_of([[image, image], [image]]).shape == (3, 16, 20)
    matrix = boxes(np.array([[0.0, 1.0], [np.nan, 0.25]]), side=10)
    shares = [
        (matrix[0, row : row + 10, column : column + 10] < 0.5).float().mean()
        for row, column in ((0, 0), (0, 10), (10, 10))
    ]
    assert [round(float(one), 2) for one in shares] == [0.0, 0.64, 0.16]


@pytest.mark.parametrize("level", LEVELS)
def test_every_number_is_bound_or_absent_and_every_claim_judged(level: Level) -> None:
    analyses = set(STUDY.analyses(level))
    assert len({one.label for one in analyses}) == len(STUDY.analyses(level))
    bindings = [STUDY.binding(number, level) for number in PAPER.numbers]
    for binding in bindings:
        if isinstance(binding, Bound):
            assert binding.analysis in analyses
        else:
            assert len(binding.reason) > 20
    bound = sum(isinstance(binding, Bound) for binding in bindings)
    assert bound > (150 if level == "smoke" else 330)
    judges = STUDY.judges(level)
    assert set(judges) == {claim.id for claim in PAPER.claims}
    assert all(one.strongest or one.why for one in judges.values())


def test_only_what_is_not_here_is_absent_at_level_hour() -> None:
    absent = [
        number
        for number in PAPER.numbers
        if isinstance(STUDY.binding(number, "hour"), Absent) and number.columns.get("dataset") != "SVHN"
    ]
    assert {number.place for number in absent} <= {"Figure 3", "Figure 5", "text-related-work"}


@pytest.mark.parametrize("level", LEVELS)
def test_every_place_is_shown_and_what_is_shown_is_performed(level: Level) -> None:
    analyses, places = set(STUDY.analyses(level)), set()
    for section in STUDY.sections(level):
        for shown in section.shows:
            if isinstance(shown, Table | Chart | Gallery | Missing):
                places.add(shown.place)
            if isinstance(shown, Chart | Gallery | Ours):
                assert shown.analysis in analyses
    assert places == set(PAPER.places)


@pytest.mark.parametrize("level", LEVELS)
def test_every_suite_can_be_planned_and_every_bound_rate_is_a_cell_of_its_own_suite(
    level: Level, outlines: dict[Level, Outline]
) -> None:
    laid_out = outlines[level]
    assert not laid_out.missing
    read = {suite for analysis in laid_out.analyses for suite in analysis.inputs.suites}
    assert read == set(laid_out.plans)
    for number in PAPER.numbers:
        binding = STUDY.binding(number, level)
        if not isinstance(binding, Bound) or not isinstance(binding.analysis, Rates):
            continue
        cells = laid_out.plans[binding.analysis.suite].cells
        names = {
            (cell.source.label, f"{cell.attack.label}{'' if cell.goal == 'untargeted' else f' → {cell.goal}'}")
            for cell in cells
        }
        _, _, target, attack, *_ = binding.finding.split(" · ")
        assert (target, attack) in names, binding.finding


@pytest.mark.parametrize("level", LEVELS)
def test_every_best_beta_is_of_attacks_of_its_suite(level: Level, outlines: dict[Level, Outline]) -> None:
    for number in PAPER.numbers:
        binding = STUDY.binding(number, level)
        if isinstance(binding, Bound) and isinstance(binding.analysis, Betas):
            cells = outlines[level].plans[binding.analysis.suite].cells
            asked = binding.finding.split(" · ")[3].split(" → ")[0]
            assert asked in {without_beta(cell.attack.label) for cell in cells}


def test_every_module_is_part_of_the_study() -> None:
    folder = Path(__file__).parents[2] / "plugins/studies/advbench_studies/qin2020"
    assert max(len(file.read_text().splitlines()) for file in folder.glob("*.py")) <= 400


@pytest.mark.parametrize("level", LEVELS)
def test_the_attack_that_is_aware_is_called_as_its_cells_are(level: Level, outlines: dict[Level, Outline]) -> None:
    for dataset in ("mnist", "fashion-mnist"):
        cells = outlines[level].plans[f"standard-{dataset}-capsnet-r"].cells
        assert aware(SIZES[level]) in {cell.attack.label for cell in cells}


@pytest.mark.parametrize("level", LEVELS)
def test_every_attack_that_an_analysis_names_is_in_its_suites(level: Level, outlines: dict[Level, Outline]) -> None:
    asked = [one for one in STUDY.analyses(level) if isinstance(one, Attacked | Distances)]
    assert len(asked) > 6
    for analysis in asked:
        for suite in analysis.inputs.suites:
            assert analysis.attack in {cell.attack.label for cell in outlines[level].plans[suite].cells}


def book(**said: float) -> Any:
    """A book in which findings whose names begin with these words have these values, give or take one; others 50."""

    def find(analysis: object, name: str) -> Finding:
        words = name.replace(" ", "_").replace(",", "")
        value = next((value for start, value in said.items() if words.startswith(start)), 50.0)
        return Finding(name, value, value - 1, value + 1, 100)

    return find


def verdict(claim: str, **said: float) -> str:
    return STUDY.judges("hour")[claim].paper(book(**said)).outcome


def test_claims_can_hold_and_fail() -> None:
    assert verdict("qin-1", undetected=1) == "holds"
    assert verdict("qin-1", undetected=60) == "fails"
    assert verdict("qin-2", undetected=1) == "holds"
    assert verdict("qin-5", undetected=3) == "holds"
    assert verdict("qin-5", undetected=30) == "fails"
    assert verdict("qin-8", undetected=1, success=1) == "holds"
    assert verdict("qin-12", correlation=20) == "fails"
    assert verdict("qin-13", target_label=10) == "fails"
    assert verdict("qin-14", area=9, distance_true=2, distance_other=7) == "holds"
    assert verdict("qin-14", area=9, distance_true=7, distance_other=2) == "fails"


@pytest.mark.parametrize(
    ("claim", "high", "expected"),
    [
        ("qin-4", "cnn", "fails"),  # the networks that detect less well are not to be above 10 % either
        ("qin-4", "none", "undecided"),
        ("qin-6", "r-", "fails"),
        ("qin-6", "none", "undecided"),
        ("qin-7", "r-", "holds"),
        ("qin-9", "CNN+CR", "fails"),
        ("qin-16", "stages=1", "fails"),
        ("qin-16", "none", "undecided"),
    ],
)
def test_claims_that_compare(claim: str, high: str, expected: str) -> None:
    """Whatever has these letters in the name of its attack or network has 90, all else 2."""

    def found(analysis: object, name: str) -> Finding:
        attack = name.replace("+reconstruction", "").replace("capsnet-r", "capsnet").replace("cnn-r", "cnn")
        value = 90.0 if high in attack.replace("cnn-cr", "cnn-c") else 2.0
        return Finding(name, value, value - 1, value + 1, 100)

    assert STUDY.judges("hour")[claim].paper(cast("Any", found)).outcome == expected


def test_claims_of_what_is_not_here_are_never_decided_in_favour() -> None:
    for claim in ("qin-3", "qin-9", "qin-10", "qin-11", "qin-15"):
        assert verdict(claim, undetected=1, error=1) in {"undecided", "fails"}
    assert verdict("qin-15", error=1) == "undecided"


def test_capsnet_beside_the_others() -> None:
    def found(analysis: object, name: str) -> Finding:
        value = 5.0 if "capsnet-r" in name else 80.0
        return Finding(name, value, value - 2, value + 2, 100)

    judges = STUDY.judges("hour")
    assert judges["qin-8"].paper(cast("Any", found)).outcome == "holds"
    assert judges["qin-2"].paper(cast("Any", found)).outcome == "holds"

    def turned(analysis: object, name: str) -> Finding:
        value = 80.0 if "capsnet-r" in name else 5.0
        return Finding(name, value, value - 2, value + 2, 100)

    assert judges["qin-8"].paper(cast("Any", turned)).outcome == "fails"
    assert judges["qin-2"].paper(cast("Any", turned)).outcome == "fails"


def test_a_network_that_is_not_there_decides_nothing() -> None:
    def nothing(analysis: object, name: str) -> Finding:
        raise AdvbenchError("it is not there")

    for claim, judged in STUDY.judges("hour").items():
        if claim not in {"qin-13", "qin-14"}:  # whose judges leave it to the study to say what is lacking
            assert judged.paper(nothing).outcome == "undecided"
