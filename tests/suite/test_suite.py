"""Suites: the format, what stands in for what is not said, and what the command line puts in its place."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from advbench.errors import AdvbenchError
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.suite.board import Board
from advbench.suite.plan import make_plan
from advbench.suite.suite import Overrides, Suite, embedded_suites, load_suite, suite_from_mapping
from advbench.threats.linf import Linf
from advbench_attacks.fgsm import FGSM
from advbench_attacks.pgd import PGD

SUITE = """\
data: [mnist-5k, svhn]
examples: 100
models: small-cnn
attacks: [fgsm, pgd(steps=20)]
goals: [untargeted, least-likely]
threats:
  - linf(eps=0.3)
  - l2: {eps: 1.5, examples: 50, attacks: [fgsm], goals: [random], data: mnist-5k}
  - rotate-shift(degrees=30): {attacks: [noise, pgd], required: [pgd]}
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


@pytest.fixture
def suite(registry: Registry, tmp_path: Path) -> Any:
    def loaded(text: str = SUITE, **overrides: Any) -> Suite:
        (tmp_path / "mine.yaml").write_text(text)
        return load_suite(tmp_path / "mine.yaml", registry, Overrides(**overrides))

    return loaded


def board(suite: Suite, name: str) -> Board:
    (found,) = [board for board in suite.boards if board.name == name]
    return found


def labels(board: Board) -> list[str]:
    return [attack.label for attack in board.attacks]


def test_every_data_set_and_threat_make_a_board_unless_the_threat_names_its_data(suite: Any) -> None:
    assert [board.name for board in suite().boards] == [
        "mnist-5k/linf/0.3",
        "svhn/linf/0.3",
        "mnist-5k/l2/1.5",
        "mnist-5k/rotate-shift/30°,3px",
        "svhn/rotate-shift/30°,3px",
    ]


def test_what_stands_beside_a_threat_holds_for_its_boards_alone(suite: Any) -> None:
    loaded = suite()
    plain, own = board(loaded, "svhn/linf/0.3"), board(loaded, "mnist-5k/l2/1.5")
    assert (plain.examples, labels(plain), plain.goals) == (
        100,
        ["fgsm", "pgd(steps=20)"],
        ("untargeted", "least-likely"),
    )
    assert (own.examples, labels(own), own.goals) == (50, ["fgsm"], ("random",))


def test_all_attacks_of_a_board_are_required_unless_some_are_named(suite: Any) -> None:
    loaded = suite()
    assert board(loaded, "svhn/linf/0.3").required == ("fgsm", "pgd(steps=20)")
    assert board(loaded, "svhn/rotate-shift/30°,3px").required == ("pgd",)


def test_what_is_not_said_has_the_documented_default(suite: Any) -> None:
    least = suite("data: mnist-5k\nmodels: small-cnn\nattacks: fgsm\nthreats: linf(eps=0.1)\n")
    assert (least.name, least.seed, least.stop, least.shard) == ("mine", 0, "first", 128)
    assert (least.budget, least.timeout, least.false_positive_rate) == (None, None, 0.05)
    assert least.precision == "float32"
    assert [[defense.label for defense in chain] for chain in least.defenses] == [["none"]]
    (only,) = least.boards
    assert (only.examples, only.goals) == (None, ("untargeted",))


def test_lists_of_the_command_line_replace_those_of_the_file(suite: Any) -> None:
    given = suite(models=["cnn-cr"], defenses=["none", "reconstruction"], data=["mnist"], attacks=["pgd(steps=2)"])
    assert [model.label for model in given.models] == ["cnn-cr"]
    assert len(given.defenses) == 2
    assert {board.dataset.label for board in given.boards} == {"mnist"}
    assert {tuple(labels(board)) for board in given.boards} == {("pgd(steps=2)",)}


def test_an_attack_from_the_command_line_is_required_where_it_replaces_the_file_s(suite: Any) -> None:
    assert {board.required for board in suite(attacks=["noise"]).boards} == {("noise",)}


def test_numbers_of_the_command_line_also_replace_those_beside_a_threat(suite: Any) -> None:
    given = suite(examples=7, seed=3, goals=["class=2"])
    assert given.seed == 3
    assert {board.examples for board in given.boards} == {7}
    assert {board.goals for board in given.boards} == {("class=2",)}


def test_another_radius_keeps_what_the_file_says_of_this_kind_of_threat(suite: Any) -> None:
    (given,) = suite(threats=["l2(eps=3)"]).boards
    assert given.name == "mnist-5k/l2/3"
    assert (given.examples, labels(given), given.goals) == (50, ["fgsm"], ("random",))


def test_a_kind_of_threat_that_the_file_lacks_takes_the_suite_s_settings(suite: Any) -> None:
    given = suite(threats=["wasserstein(eps=0.5)"]).boards
    assert [board.dataset.label for board in given] == ["mnist-5k", "svhn"]
    assert {board.examples for board in given} == {100}


def test_a_mistake_beside_a_threat_that_was_replaced_is_still_none(suite: Any) -> None:
    (given, _) = suite(SUITE.replace("attacks: [fgsm]", "attacks: [fsgm]"), threats=["linf(eps=0.1)"]).boards
    assert given.name == "mnist-5k/linf/0.1"


def test_a_mistake_in_an_option_names_the_option(suite: Any) -> None:
    with pytest.raises(AdvbenchError, match=r'^--model "conv-net": unknown model'):
        suite(models=["conv-net"])


@pytest.mark.parametrize(
    "written", ["pgd(steps=20)", "pgd(steps = 20)", "{pgd: {steps: 20}}", '"pgd(steps=20)"', "{pgd(steps=20): {}}"]
)
def test_parameters_may_be_written_as_a_call_or_as_a_mapping(suite: Any, written: str) -> None:
    loaded = suite(SUITE.replace("[fgsm, pgd(steps=20)]", f"[fgsm, {written}]"))
    assert labels(loaded.boards[0]) == ["fgsm", "pgd(steps=20)"]


@pytest.mark.parametrize(
    ("written", "eps"),
    [("0.3", 0.3), ("8e-3", 0.008), ("8/255", 8 / 255), (".5", 0.5), ("1", 1.0)],
)
def test_numbers_mean_the_same_in_a_call_and_in_yaml(suite: Any, written: str, eps: float) -> None:
    call = suite(SUITE.replace("linf(eps=0.3)", f"linf(eps={written})")).boards[0]
    mapping = suite(SUITE.replace("linf(eps=0.3)", f"linf: {{eps: {written}}}")).boards[0]
    assert call.threat == mapping.threat == Linf(eps)


def test_chains_of_defenses_may_be_written_with_a_plus_or_as_a_list(suite: Any) -> None:
    text = SUITE + "defenses: [adversarial-training+reconstruction, [none]]\n"
    chains = [[defense.name for defense in chain] for chain in suite(text).defenses]
    assert chains == [["adversarial-training", "reconstruction"], ["none"]]


def test_yaml_s_own_surprises_stay_out(suite: Any) -> None:
    assert suite(SUITE + "name: yes\n").name == "yes"
    with pytest.raises(AdvbenchError, match="seed: expected a whole number, got the text '1_000'"):
        suite(SUITE + "seed: 1_000\n")
    with pytest.raises(AdvbenchError, match="seed: expected a whole number, got the text '1:30'"):
        suite(SUITE + "seed: 1:30\n")


def test_a_suite_may_be_made_of_instances(registry: Registry) -> None:
    suite = suite_from_mapping(
        {
            "data": registry.dataset("mnist-5k"),
            "models": [registry.model("small-cnn")],
            "attacks": [FGSM(), PGD(steps=3)],
            "threats": [Linf(0.1), {"l2": {"eps": 1, "examples": 5}}],
        },
        registry,
    )
    assert [board.name for board in suite.boards] == ["mnist-5k/linf/0.1", "mnist-5k/l2/1"]
    assert [board.examples for board in suite.boards] == [None, 5]


def test_a_mistake_in_a_mapping_is_told_by_its_path(registry: Registry) -> None:
    wrong = {"data": "mnist-5k", "models": ["small-cnn"], "attacks": ["fgsm"], "threats": [{"l2": {"epz": 1}}]}
    with pytest.raises(AdvbenchError, match=r"^threats\[0\]\.l2\.epz: .*did you mean 'eps'\?"):
        suite_from_mapping(wrong, registry)


def test_the_settings_that_a_run_stores_make_the_same_suite_again(suite: Any, registry: Registry) -> None:
    for loaded in (
        suite(),
        load_suite("quick", registry),
        suite(SUITE + "seed: 4\nbudget: 9\ntimeout: 2.5\nstop: end\nprecision: bf16\n"),
    ):
        stored = json.loads(json.dumps(loaded.settings))
        assert suite_from_mapping(stored, registry) == loaded


def test_the_settings_that_a_run_stores_can_be_saved_as_a_suite_file(suite: Any) -> None:
    loaded = suite()
    assert suite(yaml.safe_dump(loaded.settings, allow_unicode=True)) == loaded


def test_quick_is_what_the_issue_promises(registry: Registry) -> None:
    assert embedded_suites() == ["quick"]
    quick = load_suite("quick", registry)
    assert [model.name for model in quick.models] == ["small-cnn", "cnn-cr"]
    by_kind = {board.threat.name: board for board in quick.boards}
    assert set(by_kind) == {"linf", "l2", "rotate-shift", "wasserstein"}
    for name in ("linf", "l2", "rotate-shift"):
        assert by_kind[name].examples == 200
        assert {"fgsm", "pgd(steps=20)"} <= set(labels(by_kind[name]))
    assert by_kind["wasserstein"].examples == 50
    assert "pgd(steps=15)" in labels(by_kind["wasserstein"])


def test_a_file_may_have_windows_line_ends_and_a_byte_order_mark(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SUITE.replace("\n", "\r\n").encode())
    assert len(load_suite(path, registry).boards) == 5


@given(st.text(alphabet="ab:-[]{}(),=\"' \n&*!#?|>%@`~é\t0.3e", max_size=80))
def test_no_text_whatever_ends_in_a_traceback(text: str) -> None:
    registry = Registry()
    with pytest.raises(AdvbenchError):
        suite_from_text(text, registry)


def suite_from_text(text: str, registry: Registry) -> Suite:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_text(text)
        return load_suite(path, registry)


def test_an_infinite_radius_makes_no_board(suite: Any) -> None:
    with pytest.raises(AdvbenchError, match="a board has a finite radius"):
        suite(SUITE.replace("linf(eps=0.3)", "linf(eps=inf)"))


@pytest.mark.parametrize("ball", ["linf(eps=1)", "l2(eps=28)", "box(eps=1)", "corruption(eps=1)", "linf(eps=0.9)"])
def test_the_largest_radius_is_taken_by_those_who_write_it(suite: Any, ball: str) -> None:
    assert len(suite(threats=[ball], attacks=["transfer(file=x.sqlite)"], data=["mnist-5k"]).boards) == 1


@pytest.mark.parametrize("ball", ["linf(eps=1.01)", "l2(eps=28.01)", "box(eps=2)", "corruption(eps=3)"])
def test_a_radius_beyond_everything_is_a_slip(suite: Any, ball: str) -> None:
    with pytest.raises(AdvbenchError, match=r"eps=.* is larger than any .* can be"):
        suite(threats=[ball], attacks=["transfer(file=x.sqlite)"], data=["mnist-5k"])


def test_nobody_trains_in_a_ball_that_holds_everything(suite: Any) -> None:
    wanted = suite(
        threats=["linf(eps=0.1)"],
        defenses=['adversarial-training(threat="linf(eps=8)")'],
        data=["mnist-5k"],
        attacks=["fgsm"],
    )
    assert {skip.reason for skip in make_plan(wanted).skips if "eps=8" in skip.reason}
    assert not make_plan(wanted).cells
