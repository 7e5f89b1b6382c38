"""The study of Universal Attacks on Equivariant Networks: mathematics with known answers, and nothing left open."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from advbench import AdvbenchError, Analysis, Bound, Chart, Examples, Finding, Findings, Gallery, Material, Ours
from advbench.plugins.discovery import discover
from advbench.studies.performance import outline
from advbench.studies.published import publication
from advbench.study import LEVELS, Level
from advbench_datasets.mnist import Mnist
from advbench_models.equivariant import Gcnn, StdCnn
from advbench_studies.equivariant2019 import UniversalAttacksOnEquivariantNetworks
from advbench_studies.equivariant2019.architectures import layer_name, layers
from advbench_studies.equivariant2019.directions import deepfool, fgsm, gradients, small_turns
from advbench_studies.equivariant2019.fooling import misclassified
from advbench_studies.equivariant2019.networks import ATTACKS, DATA, NETWORKS, SMALL
from advbench_studies.equivariant2019.principal import Principal
from advbench_studies.equivariant2019.sizes import curves
from advbench_studies.equivariant2019.spectra import (
    estimate,
    held_elsewhere,
    mean_dot,
    oriented,
    principal_angles,
    spectra_without,
    spectrum,
    told,
    unit,
)
from advbench_studies.equivariant2019.stronger import Smallest
from advbench_studies.equivariant2019.theorems import aligned_share, least_excess, least_share, theorem_1, theorem_2
from advbench_studies.equivariant2019.universal import first_reached, over_draws

STUDY = UniversalAttacksOnEquivariantNetworks()


def orthonormal(count: int, pixels: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    found: Tensor = torch.linalg.qr(torch.randn(pixels, count, generator=generator, dtype=torch.float64)).Q.T
    return found


@pytest.mark.parametrize("rows", [6, 40])
def test_a_spectrum_is_that_of_the_matrix_it_was_made_with(rows: int) -> None:
    values = torch.tensor([5.0, 3.0, 2.0, 0.5], dtype=torch.float64)
    left, right = orthonormal(4, rows).T, orthonormal(4, 20, seed=1)
    found = spectrum(left @ torch.diag(values) @ right, 3)
    assert torch.allclose(found.squares[:4], values**2)
    assert torch.allclose(found.squares[4:], torch.zeros(()).double(), atol=1e-9)
    assert torch.allclose((found.vectors @ right[:3].T).abs(), torch.eye(3).double(), atol=1e-9)
    assert found.share(1) == pytest.approx(25 / 38.25)


@pytest.mark.parametrize("rows", [12, 60])
def test_a_part_of_the_rows_is_left_out_whichever_way_is_shorter(rows: int) -> None:
    matrix = torch.randn(rows, 15, generator=torch.Generator().manual_seed(3)).double()
    for block, found in enumerate(spectra_without(matrix, 2, blocks=5)):
        kept = torch.arange(rows) % 5 != block
        assert torch.allclose(found.squares.sum(), matrix[kept].square().sum())
        assert torch.allclose(found.squares[0], torch.linalg.svdvals(matrix[kept])[0] ** 2)


def test_principal_angles_are_those_that_subspaces_were_turned_by() -> None:
    basis = orthonormal(9, 30)
    degrees = torch.tensor([90.0, 60.0, 1e-6], dtype=torch.float64)
    turned = degrees.deg2rad().cos().unsqueeze(1) * basis[:3] + degrees.deg2rad().sin().unsqueeze(1) * basis[3:6]
    mixed = torch.linalg.qr(turned.T @ orthonormal(3, 3, seed=5)).Q.T
    assert principal_angles(basis[:3], mixed).tolist() == pytest.approx([90, 60, 1e-6], rel=1e-4)
    assert mean_dot(basis[:2], basis[4:6]) == pytest.approx(0, abs=1e-12)
    assert mean_dot(basis[:2], basis[:2]) == pytest.approx(0.5)


def test_rows_have_length_one_however_small_and_those_without_direction_are_left_out() -> None:
    rows = torch.tensor([[3.0, 4.0], [3e-30, 4e-30], [0.0, 0.0], [math.nan, 0.0]])
    assert unit(rows).tolist() == [[0.6, 0.8], [0.6, 0.8], [0, 0], [0, 0]]
    assert len(told(unit(rows))) == 2


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = [1.0, 4.0, 2.0, 7.0, 3.0]
    others = [(sum(values) - value) / 4 for value in values]
    found = estimate("mean", sum(values) / 5, others, 5)
    error = torch.tensor(values).double().std() / math.sqrt(5)
    assert found.high is not None
    assert found.low is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * float(error))


def test_what_chance_concentrates_in_few_rows_is_not_held_elsewhere() -> None:
    rows = unit(torch.randn(30, 200, generator=torch.Generator().manual_seed(0)))
    assert spectrum(rows).share(5) > 0.2
    assert held_elsewhere(rows, 5) < 0.05
    shared = unit(torch.ones(30, 200))
    assert held_elsewhere(shared, 1) == pytest.approx(1)


def exact_case(share: float = 0.25, delta: float = 0.3, count: int = 400) -> Tensor:
    """So many rows are v itself; the others meet it at delta, their rests side by side and either way."""
    rows = torch.zeros(count, 60, dtype=torch.float64)
    first = int(share * count)
    rows[:first, 0] = 1
    rows[first:, 0] = delta
    for place in range(first, count):
        sign = 1 if (place - first) // 59 % 2 else -1
        rows[place, 1 + (place - first) % 59] = sign * math.sqrt(1 - delta**2)
    return rows


def test_theorem_1_promises_exactly_what_there_is_where_no_more_can_be_promised() -> None:
    share, delta = 0.25, 0.3
    rows = exact_case(share, delta)
    found = spectrum(rows, 1)
    eigenvalue = float(found.squares[0]) / len(rows)
    assert eigenvalue == pytest.approx(share + (1 - share) * delta**2, rel=1e-2)
    above = delta + 0.02
    assert aligned_share(rows, torch.eye(60).double()[0], above) == share
    assert least_share(share + (1 - share) * delta**2, delta) == pytest.approx(share)
    assert least_share(0.2, 0.5) == 0
    assert least_share(1.0, 1.0) == 0
    assert least_excess(rows, found.vectors[0], eigenvalue) >= -1e-9


def test_theorem_1_would_be_seen_to_fail() -> None:
    rows = exact_case()
    wrong = torch.eye(60).double()[7]
    assert least_excess(rows, wrong, 0.3) < -0.05


def named(found: Findings, name: str) -> Finding:
    return next(one for one in found.numbers if one.name == name)


def test_theorem_2_meets_the_gap_and_the_distance_of_two_directions() -> None:
    rows = torch.zeros(100, 5, dtype=torch.float64)
    rows[:70, 0], rows[70:, 1] = 1, 1
    found = theorem_2("made", rows, (20,), lambda size, time: torch.arange(size) + 50 * time, 2)
    assert named(found, "theorem 2: eigengap · made").value == pytest.approx(0.4)
    # the first sample holds the first direction alone, the second one as many of both, and one is at right angles
    assert named(found, "theorem 2: cosine · made · 20 inputs").n == 2
    same = theorem_2("made", rows, (20,), lambda size, time: torch.arange(size), 2)
    assert named(same, "theorem 2: distance · made · 20 inputs").value == pytest.approx(0, abs=1e-6)
    speaks = named(same, "theorem 2: inputs from which on it speaks · made").value
    assert speaks == pytest.approx(5 * math.log(5) / 0.4**2)
    assert named(same, "theorem 2: draws with ε below the gap · made").value == 2
    assert named(same, "theorem 2: of them above the bound · made").value == 0


def test_both_readings_of_the_special_case_promise_half_of_the_eigenvalue() -> None:
    found = theorem_1("made", exact_case())
    promised = named(found, "theorem 1: λ/2 promised · made").value
    for delta in ("√(λ/2)", "λ/2"):
        share = named(found, f"theorem 1: share at δ = {delta} · made").value
        assert share is not None
        assert promised is not None
        assert share >= promised


class Linear(nn.Module):
    """Three classes told apart by planes."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.weights = torch.randn(3, 784, generator=torch.Generator().manual_seed(4)) * scale

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weights.T


def images_of(count: int) -> Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(2))


def silent(done: int, count: int) -> None:
    pass


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_gradient_of_planes_is_their_difference_however_sure_the_network_is(scale: float) -> None:
    net = Linear(scale)
    x = images_of(5)
    labels = net(x).argmax(1)
    found = unit(gradients(net, x, labels, silent))
    others = net(x).double().scatter(1, labels.view(-1, 1), -torch.inf).softmax(1)
    due = unit(others @ net.weights.double() - net.weights[labels].double())
    assert torch.allclose((found * due).sum(1), torch.ones(5).double(), atol=1e-5)
    assert set(fgsm(found).unique().tolist()) == {-1.0, 1.0}


def test_deepfool_goes_straight_to_the_nearest_plane_and_a_little_beyond() -> None:
    net = Linear(0.05)
    x = images_of(6)
    logits, moved = net(x), deepfool(net, x, silent)
    for row in range(6):
        own = int(logits[row].argmax())
        distances = [
            float((logits[row, own] - logits[row, k]) / (net.weights[k] - net.weights[own]).norm())
            for k in range(3)
            if k != own
        ]
        assert float(moved[row].norm()) == pytest.approx(1.02 * (min(distances) + 1e-4), rel=1e-3)
    assert (net(x + moved).argmax(1) != logits.argmax(1)).all()


def test_a_small_turn_changes_nothing_of_a_black_image_and_little_of_a_round_one() -> None:
    across = torch.arange(28) - 13.5
    round_one = torch.exp(-(across.unsqueeze(0) ** 2 + across.unsqueeze(1) ** 2) / 40).view(1, 1, 28, 28)
    bar = torch.zeros(1, 1, 28, 28)
    bar[..., 4:24, 13:15] = 1
    turned = small_turns(torch.cat([torch.zeros_like(bar), round_one, bar])).flatten(1).norm(dim=1)
    assert turned[0] == 0
    assert turned[1] < 0.05 < 0.5 < turned[2]


class Brightness(nn.Module):
    """Answers 1 from a mean of one half on."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1).mean(1)
        return torch.stack([torch.full_like(mean, 0.5), mean], 1)


def test_a_vector_fools_from_the_margin_on_in_one_direction_and_the_clip_is_obeyed() -> None:
    grey, labels = torch.full((10, 1, 28, 28), 0.4), torch.zeros(10, dtype=torch.long)
    v = torch.full((1, 28, 28), 1 / 28)
    # the mean must rise by 0.1: a norm of 2.8
    assert misclassified(Brightness(), grey, labels, v, [2.7, 2.9]) == [0, 10]
    assert misclassified(Brightness(), grey, labels, -v, [2.9]) == [0]
    few = torch.zeros(1, 28, 28)
    few[0, 0, :10] = 1 / math.sqrt(10)  # ten pixels can brighten by 6 together, where 78.4 are needed
    assert misclassified(Brightness(), grey, labels, few, [100.0], clip=True) == [0]
    assert misclassified(Brightness(), grey, labels, few, [100.0], clip=False) == [10]
    assert misclassified(Brightness(), grey, labels + 1, 0 * v, [0.0]) == [10]


def test_a_singular_vector_points_where_its_rows_do() -> None:
    rows = unit(torch.tensor([[1.0, 0.2], [1.0, -0.2], [-1.0, 0.1]]))
    assert oriented(torch.tensor([-1.0, 0.0]).double(), rows).tolist() == [1.0, 0.0]


def test_the_norm_that_fools_is_between_those_that_were_tried() -> None:
    assert first_reached([0, 2, 4], [10, 60, 100], 80) == 3
    assert first_reached([0, 2, 4], [10, 60, 70], 80) is None
    assert first_reached([0, 2], [90, 95], 80) == 0


def test_several_draws_widen_the_interval_of_the_images_and_never_narrow_it() -> None:
    alike, apart = over_draws("alike", [50, 50, 50], 100), over_draws("apart", [20, 50, 80], 100)
    one = over_draws("one", [50], 100)
    assert (alike.value, apart.value) == (50, 50)
    assert (alike.low, alike.high) == (pytest.approx(one.low, abs=1e-3), pytest.approx(one.high, abs=1e-3))
    assert cast(float, apart.low) < cast(float, alike.low) < 50 < cast(float, alike.high) < cast(float, apart.high)
    none = over_draws("none", [0, 0], 50)
    assert none.low == 0
    assert cast(float, none.high) > 5


def test_the_networks_have_the_layers_of_table_2() -> None:
    built = {"StdCNN": StdCnn().build(Mnist()), "GCNN": Gcnn().build(Mnist())}
    sizes = {
        layer_name(network, position, parameter): value
        for network, net in built.items()
        for position, layer in enumerate(layers(net), 1)
        for parameter, value in layer.items()
    }
    published = {
        binding.finding: number.value
        for number in publication(STUDY).numbers
        if number.place == "Table 2"
        for binding in (STUDY.binding(number, "smoke"),)
        if isinstance(binding, Bound)
    }
    assert len(published) == 38
    assert sizes == published


@pytest.mark.parametrize("level", LEVELS)
def test_every_number_is_bound_and_every_claim_is_judged_at_every_level(level: Level) -> None:
    labels = {analysis.label for analysis in STUDY.analyses(level)}
    assert len(labels) == len(STUDY.analyses(level))
    published = publication(STUDY)
    for number in published.numbers:
        binding = STUDY.binding(number, level)
        assert isinstance(binding, Bound), number
        assert binding.analysis.label in labels
    assert {claim.id for claim in published.claims} == set(STUDY.judges(level))
    shown = [one for section in STUDY.sections(level) for one in section.shows]
    assert set(published.places) <= {getattr(one, "place", "") for one in shown}
    assert all(one.analysis.label in labels for one in shown if isinstance(one, Chart | Gallery | Ours))
    laid_out = outline(STUDY, level, discover())
    assert laid_out.missing == {}
    assert len(laid_out.plans) == 2


class Played(Material):
    """A made network, and made perturbations, in place of those that a study reads."""

    def target(self, dataset: str, model: str, defense: str = "none") -> Any:
        base = (StdCnn if model == "std-cnn" else Gcnn)().build(Mnist()).eval()
        return SimpleNamespace(logits=Linear(0.05), base=base)

    def data(self, dataset: str) -> Any:
        return SimpleNamespace(judge=Examples(images_of(40), torch.arange(40) % 3, torch.arange(40)))

    def cell(self, suite: str, **wanted: str) -> Any:
        clean = images_of(20)
        moved = clean + 0.1 * images_of(21)[1:]
        rows = [SimpleNamespace(predicted=place % 2, label=0) for place in range(20)]
        return SimpleNamespace(perturbed=lambda: SimpleNamespace(clean=clean, images=moved), outcomes=lambda: rows)

    def cells(self, suite: str, **wanted: Any) -> Any:
        return [SimpleNamespace(attack=attack) for attack in ("universal-pgd", "spectral")]


@pytest.fixture(scope="module")
def performed() -> dict[str, Findings]:
    """What the analyses of the smoke level find, on a made network."""
    material = Played("smoke", cast(Any, None), cast(Any, None), torch.device("cpu"), 0, {}, {}, {}, lambda *_: None)
    mine = [one for one in STUDY.analyses("smoke") if one.name != "rates"]
    return {one.label: one.find(material) for one in mine}


def test_what_numbers_and_claims_ask_for_is_found(performed: dict[str, Findings]) -> None:
    bindings = [STUDY.binding(number, "smoke") for number in publication(STUDY).numbers]
    asked = [(one.analysis, one.finding) for one in bindings if isinstance(one, Bound)]

    def book(analysis: Analysis, finding: str) -> Finding:
        asked.append((analysis, finding))
        return Finding(finding, 1.0, 0.5, 1.5)

    for judged in STUDY.judges("smoke").values():
        judged.paper(book)
        if judged.strongest is not None:
            judged.strongest(book)
    found = {(label, one.name) for label, findings in performed.items() for one in findings.numbers}
    assert {(analysis.label, finding) for analysis, finding in asked} - found == set()


def test_no_chart_gallery_or_list_is_empty(performed: dict[str, Findings]) -> None:
    for section in STUDY.sections("smoke"):
        for one in section.shows:
            if not isinstance(one, Chart | Gallery | Ours) or one.analysis.name == "rates":
                continue
            found = performed[one.analysis.label]
            names: tuple[str, ...]
            match one:
                case Chart():
                    names, patterns = tuple(series.name for series in found.series), one.series
                case Gallery():
                    names, patterns = tuple(picture.name for picture in found.pictures), one.pictures
                case Ours():
                    names, patterns = tuple(number.name for number in found.numbers), one.findings
            assert names, one
            for pattern in patterns:
                assert any(name.startswith(pattern.removesuffix("*")) for name in names), (pattern, names)


def test_names_are_found_once_and_no_direction_passes_for_an_image_of_the_data(performed: dict[str, Findings]) -> None:
    for found in performed.values():
        for kind in (found.numbers, found.series, found.pictures):
            names = [one.name for one in kind]
            assert len(names) == len(set(names))
        assert not any(picture.of_data for picture in found.pictures)


def test_five_singular_vectors_of_every_attack_and_of_turns_are_pictured(performed: dict[str, Findings]) -> None:
    for label, found in performed.items():
        if label.startswith("principal"):
            names = {picture.name for picture in found.pictures}
            assert names == {f"{what} {place}" for what in (*ATTACKS, "turn") for place in range(1, 6)}


def test_all_networks_are_asked_about_the_same_turned_digits() -> None:
    inputs = [one.inputs for one in STUDY.analyses("hour") if one.name == "principal"]
    assert [one.targets[0] for one in inputs] == list(NETWORKS.values())
    assert all(one.data == (DATA,) for one in inputs)
    assert Smallest("StdCNN").inputs.data == (DATA,)


def test_a_sample_that_is_no_part_of_the_rows_is_refused() -> None:
    with pytest.raises(AdvbenchError, match="samples must grow"):
        Principal("GCNN", rows=400, deepfool=400)
    with pytest.raises(AdvbenchError, match="samples must grow"):
        Principal("GCNN", rows=1000, deepfool=2000)


def test_the_strongest_attack_is_judged_at_the_norm_that_the_papers_is_judged_at() -> None:
    for level in LEVELS:
        norms = {one.small for one in STUDY.analyses(level) if isinstance(one, Principal)}
        assert norms == {SMALL}
        assert SMALL in curves(level).norms
