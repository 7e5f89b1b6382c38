"""The Python door: the same referee and the same numbers as the command line, and errors that say what to change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advbench import AdvbenchError, Data, DataFolders, Dataset, Evaluation, evaluate
from advbench.evaluation.plot import bars
from advbench.plugins.discovery import discover
from advbench.plugins.given import GivenModel
from advbench.plugins.registry import Registry
from advbench.store import Store
from advbench.threats import L2

if TYPE_CHECKING:
    from conftest import Advbench

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def registry(toys: None) -> Registry:
    return discover()


@pytest.fixture(scope="module")
def blots(registry: Registry) -> Data:
    return registry.dataset("toy-blots").load(DataFolders())


@pytest.fixture(scope="module")
def net(registry: Registry) -> nn.Module:
    return registry.model("toy").build(registry.dataset("toy-blots"))


@pytest.fixture(scope="module")
def found(net: nn.Module, blots: Data, registry: Registry) -> Evaluation:
    return evaluate(
        net,
        blots.judge.images,
        blots.judge.labels,
        threats=["linf(eps=0.2)", "l2(eps=1)"],
        attacks=["fgsm", "noise", "pgd(steps=3)"],
        registry=registry,
    )


def test_a_network_on_tensors_takes_five_lines(found: Evaluation) -> None:
    assert found.clean_accuracy == 1.0
    assert set(found.robust_accuracy) == {"given/linf/0.2", "given/l2/1"}
    assert all(rate is not None and 0 <= rate <= 1 for rate in found.robust_accuracy.values())
    assert [(row["board_name"], row["entrant"], row["n"]) for row in found.rates] == [
        (board, attack, 30)
        for board in ("given/linf/0.2", "given/l2/1")
        for attack in ("fgsm", "noise", "pgd(steps=3)")
    ]
    assert found.failed == ()


def test_the_numbers_are_those_of_the_command_line(
    advbench: Advbench, found: Evaluation, blots: Data, tmp_path: Path
) -> None:
    (tmp_path / "same.yaml").write_text(
        "data: toy-blots\nmodels: toy\nattacks: fgsm\nthreats: [linf(eps=0.2), l2(eps=1)]\n"
    )
    assert advbench("run", tmp_path / "same.yaml", "--db", tmp_path / "cli.sqlite").code == 0
    columns = "attack, threat, example, reached, predicted, confidence, size, violation"
    sql = f"SELECT {columns} FROM outcomes o JOIN cells c ON c.id = o.cell WHERE attack = 'fgsm' ORDER BY 1, 2, 3"
    with Store.open(tmp_path / "cli.sqlite", readonly=True) as store:
        judged = store.rows(sql)
        clean = store.rows("SELECT example, label, predicted, confidence FROM clean ORDER BY example")
    # tensors have no ids of their own: they count from 0, where the data set's begin at 60
    for row in [*judged, *clean]:
        row["example"] -= 60
    assert found.store.rows("SELECT example, label, predicted, confidence FROM clean ORDER BY example") == clean
    mine = found.store.rows(sql)
    assert len(mine) == len(judged) == 60
    assert mine == judged  # fgsm draws nothing; where an attack does, its draws follow the ids


def test_the_same_network_on_the_same_data_set_gives_the_rates_of_the_command_line(
    advbench: Advbench, net: nn.Module, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "same.yaml").write_text("data: toy-blots\nmodels: toy\nattacks: [noise, pgd]\nthreats: linf(eps=0.2)\n")
    assert advbench("run", tmp_path / "same.yaml", "--db", tmp_path / "cli.sqlite").code == 0
    door = evaluate(net, dataset="toy-blots", threats="linf(eps=0.2)", attacks=["noise", "pgd"], registry=registry)
    facts = (
        "SELECT c.attack, o.example, o.reached, o.predicted, o.confidence, o.size, o.violation, s.artifact "
        "FROM outcomes o JOIN cells c ON c.id = o.cell JOIN shards s ON s.cell = c.id ORDER BY 1, 2"
    )
    with Store.open(tmp_path / "cli.sqlite", readonly=True) as store:
        assert door.store.rows(facts) == store.rows(facts)  # noise included: draws are keyed by seed, attack and id


def test_a_database_holds_what_was_found_and_show_reads_it(
    advbench: Advbench, net: nn.Module, blots: Data, registry: Registry, tmp_path: Path
) -> None:
    db = tmp_path / "mine.sqlite"
    arguments: dict[str, Any] = {"threats": "linf(eps=0.2)", "attacks": "pgd(steps=2)", "registry": registry, "db": db}
    evaluate(net, blots.judge.images, blots.judge.labels, **arguments)
    shown = advbench("show", "--db", db)
    assert shown.code == 0
    assert "given/linf/0.2 · 30 examples" in shown.out
    assert "Sequential" in shown.out
    verified = advbench("verify", "--db", db)
    assert verified.code == 1
    assert "not checked" in verified.out
    assert "· its images were given to `evaluate` in memory and are not in the database" in verified.out
    with Store.open(db, readonly=True) as store:
        (key,) = [row["key"] for row in store.rows("SELECT key FROM cells")]
    for command in (["reproduce", key], ["export", key, tmp_path / "out.npz"]):
        assert "images were given to `evaluate` in memory" in advbench(*command, "--db", db).complaint
    assert "images were given to `evaluate` in memory" in advbench("merge", tmp_path / "all.sqlite", db).out


def test_a_network_that_was_given_is_told_from_a_plugin_that_is_not_here(
    advbench: Advbench, net: nn.Module, registry: Registry, tmp_path: Path
) -> None:
    db = tmp_path / "mine.sqlite"
    evaluate(net, dataset="toy-blots", threats="linf(eps=0.2)", attacks="fgsm", registry=registry, db=db)
    words = "Sequential was given to `evaluate` in memory and is not in the database"
    assert words in advbench("verify", "--db", db).out
    with Store.open(db, readonly=True) as store:
        (key,) = [row["key"] for row in store.rows("SELECT key FROM cells")]
    assert words in advbench("reproduce", key, "--db", db).complaint


def test_a_second_evaluation_into_one_database_answers_for_itself_alone(
    net: nn.Module, blots: Data, registry: Registry, tmp_path: Path
) -> None:
    db = tmp_path / "mine.sqlite"
    arguments: dict[str, Any] = {
        "threats": ["linf(eps=0.2)"],
        "attacks": "pgd(steps=2)",
        "registry": registry,
        "db": db,
    }
    x, y = blots.judge.images, blots.judge.labels
    first = evaluate(net, x, y, **arguments)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    nn.init.zeros_(constant[1].weight)
    second = evaluate(constant, x, y, **arguments)
    fewer = evaluate(net, x, y, examples=5, **arguments)
    assert first.clean_accuracy == fewer.clean_accuracy == 1.0
    assert second.clean_accuracy == pytest.approx(1 / 3)
    assert [row["n"] for row in fewer.rates] == [5]
    assert [row["n"] for row in second.rates] == [30]
    assert second.robust_accuracy != first.robust_accuracy
    assert "· 30 examples" not in str(fewer)  # the other board is not printed, but as evidence elsewhere


def test_numpy_arrays_lists_and_bytes_do_as_well(net: nn.Module, blots: Data, registry: Registry) -> None:
    x, y = blots.judge.images[:6].numpy(), blots.judge.labels[:6].numpy()
    arguments: dict[str, Any] = {"threats": "linf(eps=0.2)", "attacks": "fgsm", "registry": registry}
    wanted = evaluate(net, torch.from_numpy(x), torch.from_numpy(y), **arguments).robust_accuracy
    assert evaluate(net, x, y, **arguments).robust_accuracy == wanted
    assert evaluate(net, x.astype(np.float64), y.tolist(), **arguments).robust_accuracy == wanted
    assert evaluate(net, (x * 255).astype(np.uint8), y.astype(np.uint8), **arguments).clean_accuracy == 1.0


def test_nobody_s_tensors_modes_or_gradients_are_changed(net: nn.Module, blots: Data, registry: Registry) -> None:
    x, y = blots.judge.images[:6].clone().requires_grad_(), blots.judge.labels[:6].clone()
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    pixels = x.detach().clone()
    found = evaluate(net, x, y, threats="linf(eps=0.2)", attacks="fgsm", registry=registry)
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert x.grad is None
    assert torch.equal(x, pixels)
    rates = found.robust_accuracy
    with torch.no_grad():
        x.zero_()
    assert found.robust_accuracy == rates
    net.eval()


GOOD = {"threats": "linf(eps=0.1)", "attacks": "fgsm"}
X, Y = torch.full((4, 1, 8, 8), 0.5), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"images": X * 6 - 1, "labels": Y},
            r"images must lie in \[0, 1\].*these go from 2 to 2: put the normalisation",
        ),
        ({"images": X - 1, "labels": Y}, r"images must lie in \[0, 1\]"),
        ({"images": X * float("nan"), "labels": Y}, r"images must lie in \[0, 1\]"),
        ({"images": X[:, 0], "labels": Y}, r"images must be \(N, C, H, W\), not \(4, 8, 8\)"),
        ({"images": X[:0], "labels": Y[:0]}, "there are no images"),
        ({"images": X, "labels": Y[:3]}, r"4 images need as many labels, one number each, not \(3,\)"),
        ({"images": X, "labels": torch.eye(4)}, "one number each"),
        ({"images": X, "labels": Y + 0.5}, "labels must be whole numbers from 0 on"),
        ({"images": X, "labels": -Y}, "labels must be whole numbers from 0 on"),
        ({"images": X, "labels": Y + 1}, "there is a label 3, but Sequential knows classes 0 to 2"),
        ({"images": X}, "give either images with labels, or dataset="),
        ({"labels": Y}, "give either images with labels, or dataset="),
        ({}, "give either images with labels, or dataset="),
        ({"images": X, "labels": Y, "dataset": "toy-blots"}, "give either"),
        ({"dataset": "toy-blots", "labels": Y}, "give either"),
        ({"dataset": "toy-blots", "calibrate": (X, Y)}, "calibrate= goes with images"),
        ({"dataset": "toy-blotz"}, "did you mean 'toy-blots'"),
        ({"images": X, "labels": Y, "threats": []}, "threats: empty"),
        ({"images": X, "labels": Y, "threats": "linf(eps=-1)"}, "eps must be at least 0"),
        ({"images": X, "labels": Y, "threats": "linf(eps=8)"}, r"threats\[0\]: linf: eps=8 .* did you mean 8/255\?"),
        ({"images": X, "labels": Y, "threats": L2(9)}, r"did you mean 9/255\? If not, the largest radius is 8"),
        ({"images": X, "labels": Y, "attacks": ["pdg"]}, r"attacks\[0\]: unknown attack 'pdg'.*did you mean 'pgd'"),
        ({"images": X, "labels": Y, "examples": 9}, "given has 4 examples to judge; the suite asks for 9"),
        ({"images": X, "labels": Y, "device": "abacus"}, "no device 'abacus' here"),
        ({"images": X, "labels": Y, "batch_size": 0}, "batch_size must be at least 1"),
        ({"images": X, "labels": Y, "stop": "never"}, "expected one of first, end"),
        ({"images": X.permute(0, 2, 3, 1), "labels": Y}, r"Sequential can't answer one image of shape \(8, 8, 1\)"),
        ({"images": X, "labels": Y, "defenses": "toy-doubting"}, "no held-out images"),
        (
            {"images": X, "labels": Y, "defenses": "toy-doubting", "calibrate": (X[:, :, 1:], Y)},
            "calibrate: its images",
        ),
        ({"images": X, "labels": Y, "db": "/nowhere/x.sqlite"}, "the folder /nowhere does not exist"),
        ({"images": X, "labels": Y, "model": "toyy"}, "did you mean 'toy'"),
        (
            {"images": X, "labels": Y, "defenses": "adversarial-training"},
            "nothing could be attacked: .*changes training",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    net: nn.Module, registry: Registry, arguments: dict[str, Any], words: str
) -> None:
    chosen = {"model": net, **GOOD, **arguments}
    with pytest.raises(AdvbenchError, match=words) as caught:
        evaluate(**chosen, registry=registry)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("outside", "words"),
    [
        (nn.Flatten(0), r"logits \(N, classes\), at least two of them; for one image it answered shape \(64,\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), r"it answered shape \(1, 1\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), "can't answer one image"),
    ],
)
def test_a_network_that_is_no_classifier_is_refused(outside: nn.Module, words: str, registry: Registry) -> None:
    with pytest.raises(AdvbenchError, match=words):
        evaluate(outside, X, Y, threats="linf(eps=0.1)", registry=registry)


class Dictionary(nn.Module):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": images.flatten(1)[:, :3]}


def test_a_network_that_answers_with_something_else_is_told_what(registry: Registry) -> None:
    with pytest.raises(AdvbenchError, match=r"Dictionary: a network must answer .* it answered dict"):
        evaluate(Dictionary(), X, Y, threats="linf(eps=0.1)", registry=registry)


def test_two_classes_and_oblong_images_are_classified_too(registry: Registry) -> None:
    images = torch.rand(8, 3, 5, 9, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Flatten(), nn.Linear(135, 2))
    with torch.no_grad():
        labels = net(images).argmax(1)
    found = evaluate(
        net,
        images,
        labels,
        threats=["linf(eps=0.5)", "l2(eps=5)", "rotate-shift", "wasserstein(eps=0.5, kernel=3)"],
        attacks=["noise", "fgsm", "pgd(steps=3)"],
        goals=["untargeted", "least-likely"],
        registry=registry,
    )
    assert found.failed == ()
    assert found.clean_accuracy == 1.0
    assert found.robust_accuracy["given/linf/0.5"] == 0.0
    assert len(found.rates) == 24


def test_a_detector_sets_its_threshold_on_the_images_given_for_it(
    net: nn.Module, blots: Data, registry: Registry
) -> None:
    calibrate = (blots.calibrate.images, blots.calibrate.labels)
    x, y = blots.judge.images, blots.judge.labels
    found = evaluate(
        net, x, y, threats="linf(eps=0.2)", attacks="fgsm", defenses=["none", "toy-doubting"], calibrate=calibrate,
        registry=registry,
    )  # fmt: skip
    assert sorted(found.targets.values()) == ["Sequential", "Sequential+toy-doubting"]
    assert set(found.robust_accuracy) == {"given/linf/0.2 Sequential", "given/linf/0.2 Sequential+toy-doubting"}
    scores = (-calibrate[0].flatten(1).mean(1)).sort().values
    (row,) = [row for row in found.store.targets() if row.threshold is not None]
    assert row.threshold == pytest.approx(float(scores[14]))
    assert "detects: " in str(found)


def test_a_failed_attack_is_named_and_the_others_stand(net: nn.Module, blots: Data, registry: Registry) -> None:
    found = evaluate(
        net, blots.judge.images, blots.judge.labels, threats="linf(eps=0.2)", attacks=["fgsm", "toy-sulking"],
        registry=registry,
    )  # fmt: skip
    assert [label for label, _ in found.failed] == ["toy-sulking in linf 0.2 on Sequential"]
    assert found.robust_accuracy == {"given/linf/0.2": None}
    assert "failed: toy-sulking in linf 0.2 on Sequential: RuntimeError: not" in str(found)
    assert "\x1b" not in str(found)
    ElementTree.fromstring(found.plot().svg)


def test_attacks_that_meet_nothing_are_an_error_and_no_robustness(
    net: nn.Module, blots: Data, registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(AdvbenchError, match="nothing could be attacked: cw does not search linf balls"):
        evaluate(
            net, blots.judge.images, blots.judge.labels, threats="linf(eps=8/255)", attacks="cw", registry=registry,
            db=tmp_path / "none.sqlite",
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_board_that_no_attack_met_has_no_robust_accuracy_and_says_who_was_skipped(
    net: nn.Module, blots: Data, registry: Registry
) -> None:
    found = evaluate(
        net, blots.judge.images, blots.judge.labels, threats=["linf(eps=8/255)", "l2(eps=0.5)"],
        attacks="cw(steps=5, rounds=1)", registry=registry,
    )  # fmt: skip
    assert found.robust_accuracy["given/linf/8/255"] is None
    assert found.robust_accuracy["given/l2/0.5"] is not None
    (skip,) = found.skipped
    assert skip.reason == "cw does not search linf balls"
    assert "skipped: cw(rounds=1, steps=5), untargeted, in linf/8/255 on Sequential: cw does not" in str(found)
    assert "Sequential is unranked: no attack was run" in str(found)
    assert "worst case" in found.plot().svg


def test_weak_evidence_is_said_in_every_door(
    advbench: Advbench, net: nn.Module, blots: Data, registry: Registry, tmp_path: Path
) -> None:
    x, y, db = blots.judge.images, blots.judge.labels, tmp_path / "weak.sqlite"
    words = "only fgsm and noise stand behind the robust accuracy"
    found = evaluate(net, x, y, threats="linf(eps=0.05)", attacks=["fgsm", "noise"], registry=registry, db=db)
    assert [note.kind for note in found.notes] == ["weak evidence"]
    assert f"weak evidence: Sequential: {words}" in str(found)
    assert f"weak evidence: Sequential: {words}" in advbench("show", "--db", db).out
    compared = advbench("compare", "Sequential", "Sequential", "--db", db).out
    assert f"given/linf/0.05: Sequential in A and Sequential in B: weak evidence: {words}" in compared
    assert advbench("render", "--db", db, "--out", tmp_path / "site").code == 0
    for folder in ("boards", "targets", "compare", "."):
        pages = list((tmp_path / "site" / folder).glob("*.html" if folder != "." else "index.html"))
        assert pages
        assert all(words in page.read_text(encoding="utf-8") for page in pages)
    stronger = evaluate(
        net, x, y, threats="linf(eps=0.05)", attacks=["fgsm", "square(queries=40)"], registry=registry, db=db
    )
    assert stronger.notes == []
    assert "weak evidence" not in str(stronger)


def test_attacks_on_a_detector_alone_are_what_a_board_requires(net: nn.Module, blots: Data, registry: Registry) -> None:
    # what asks for suspicion is else not required, and the clean accuracy would stand for the robust one
    x, y = blots.judge.images[:12], blots.judge.labels[:12]
    found = evaluate(
        net, x, y, threats="linf(eps=0.3)", attacks=["cw", "r-pgd(steps=8)"], defenses="toy-doubting",
        calibrate=(blots.calibrate.images, blots.calibrate.labels), registry=registry,
    )  # fmt: skip
    (board,) = [row for row in found.store.boards() if row.key in found.boards]
    assert board.required == ["r-pgd(steps=8)"]
    assert found.robust_accuracy["given/linf/0.3"] == found.rates[0]["accuracy"] < 1


def test_printing_gives_a_table_without_colours(found: Evaluation) -> None:
    printed = str(found)
    assert "given/linf/0.2 · 30 examples · percent right, 95 % interval" in printed
    assert "Sequential" in printed
    assert "\x1b" not in printed


def test_a_plot_is_a_picture_that_browsers_and_notebooks_read(found: Evaluation, tmp_path: Path) -> None:
    picture = found.plot()
    root = ElementTree.fromstring(picture.svg)
    assert root.tag == f"{SVG}svg"
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert any("clean images" in text for text in texts)
    assert sum("worst case" in text for text in texts) == 2
    assert len(list(root.iter(f"{SVG}rect"))) == 9
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    for bar in root.iter(f"{SVG}rect"):
        assert 0 <= float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width
        assert 0 <= float(bar.attrib["y"]) <= height
    assert picture._repr_svg_() == picture.svg
    shown = found._repr_html_()
    assert shown.startswith(picture.svg)
    assert "weak evidence" in shown
    assert picture.save(tmp_path / "plot.svg").read_text(encoding="utf-8") == picture.svg


def test_names_in_a_plot_are_text_and_never_markup() -> None:
    evil = "<script>alert('x')</script> & \"quotes\" \x1b[31m\x00"
    root = ElementTree.fromstring(bars([(evil, 0.5, 0.4, 0.6)], title=evil))
    assert not list(root.iter(f"{SVG}script"))
    assert "<script>" in "".join(root.itertext())


def test_a_data_set_instance_and_a_model_by_name_do_as_well(registry: Registry, blots: Data) -> None:
    by_name = evaluate("toy", dataset="toy-blots", threats="linf(eps=0.2)", attacks="fgsm", registry=registry)
    entrant: Dataset = registry.dataset("toy-blots")
    model = registry.model("toy")
    assert evaluate(
        model, dataset=entrant, threats="linf(eps=0.2)", attacks="fgsm", registry=registry
    ).robust_accuracy == (by_name.robust_accuracy)
    on_tensors = evaluate(
        "toy", blots.judge.images, blots.judge.labels, threats="linf(eps=0.2)", attacks="fgsm", registry=registry
    )
    assert list(on_tensors.robust_accuracy.values()) == list(by_name.robust_accuracy.values())


def test_two_networks_that_differ_in_a_plain_number_are_two_models() -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)
            self.factor, self.mean = factor, torch.tensor(factor)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.flatten(1)) * self.factor

    digests = [GivenModel.of(Scaled(factor), "x").digest for factor in (1.0, 1.0, -1.0)]
    assert digests[0] == digests[1] != digests[2]


def test_results_on_other_images_are_not_compared_as_if_they_were_the_same(
    registry: Registry, net: nn.Module, advbench: Any, tmp_path: Path
) -> None:
    for name, images in (("a", X), ("b", X * 0.5)):
        wanted = {"threats": ["linf(eps=0.1)"], "attacks": ["fgsm"], "registry": registry}
        evaluate(net, images, Y, db=tmp_path / f"{name}.sqlite", **wanted)
    refused = advbench("compare", tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    assert "no board with the same images" in refused.complaint


def test_an_engine_that_there_is_not_is_refused(net: nn.Module, blots: Data, registry: Registry) -> None:
    images, labels = blots.judge.pixels(), blots.judge.labels
    with pytest.raises(AdvbenchError, match=r"^engine=rays: give auto, processes or ray$"):
        evaluate(net, images, labels, threats="linf(eps=0.1)", attacks="noise", engine="rays", registry=registry)
