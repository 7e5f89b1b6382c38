"""`advbench speed`: a comparison is worth what its counts and its judge are worth."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from speed_table import SETTINGS, line
from speed_table import Setting as TableRow
from torch import Tensor

from advbench.data import Examples
from advbench.plugin import Attack
from advbench.plugins.discovery import discover
from advbench.problem.problem import Problem
from advbench.run.ready import Ready
from advbench.target.clean import clean_pass
from advbench.testing.scene import scene
from advbench.threats import L2, Linf, RotateShift, Wasserstein
from advbench_attacks.deepfool import DeepFool
from advbench_attacks.pgd import PGD
from advbench_peers.libraries import INSTALL, InSingle, Peer, Setting, adv_lib_attacks
from advbench_peers.peers import PEERS, peers_of
from advbench_peers.race import BEST, OURS, Race, Row
from advbench_peers.timing import Timed, in_turns, ratio

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def raced(run: Any, attack: PGD | None = None, stop: str = "first", eps: float = 0.1) -> dict[str, Row]:
    return rows_of(attack or PGD(steps=4), [("a peer", run)], stop, eps)


def rows_of(
    attack: Attack, runs: list[tuple[str, Any]], stop: str = "first", eps: float = 0.1, rounds: int = 1
) -> dict[str, Row]:
    threat = Linf(math.inf if attack.minimizes else eps)
    stage = scene(threat, count=8)
    examples = Examples(stage.images, stage.labels, stage.ids)
    ready = Ready(stage.target, clean_pass(stage.target, examples, CPU), examples, torch.arange(len(examples)))
    race = Race(attack, threat, ready, CPU, "first" if stop == "first" else "end")
    peers = [Peer(name, "torch", attack.name, frozenset({"linf"}), run) for name, run in runs]
    return {row.name: row for row in race.run(peers, rounds)}


def test_a_peer_s_passes_are_counted_forward_and_backward() -> None:
    def run(s: Setting) -> Tensor:
        x = s.images.clone().requires_grad_()
        s.net(x).sum().backward()
        s.net(s.images[:4])
        return s.images

    row = raced(run)["a peer"]
    assert (row.forwards, row.backwards) == (1.5, 1.0)
    assert row.accuracy == 1.0


def test_a_peer_that_leaves_the_ball_has_not_fooled_anybody() -> None:
    row = raced(lambda s: (s.images + 3 * s.eps).clamp(0, 1))["a peer"]
    assert row.outside == 8
    assert row.accuracy == 1.0


def test_an_attack_that_goes_on_to_the_end_spends_every_pass() -> None:
    assert raced(lambda s: s.images, PGD(steps=4), "end", eps=0.5)["advbench"].backwards == 4
    assert (raced(lambda s: s.images, PGD(steps=4), "first", eps=0.5)["advbench"].backwards or 0) < 4


def test_competitors_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    found = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, CPU)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert len(found["a"].seconds) == 2
    assert ratio(Timed(None, (2.0, 9.0, 4.0)), Timed(None, (1.0, 1.0, 2.0))) == 2.0


def test_peers_stand_beside_attacks_that_exist() -> None:
    names = {attack.name for attack in discover().attacks.values()}
    assert {peer.attack for peer in PEERS} <= names
    assert [peer.library for peer in peers_of(PGD(), "rotate-shift")] == []


def test_the_command_prints_the_floor_without_any_peer(advbench: Any) -> None:
    done = advbench(
        "speed",
        "--model",
        "toy",
        "--dataset",
        "toy-blots",
        "--attack",
        "pgd(steps=3)",
        "--examples",
        10,
        "--rounds",
        1,
        "--alone",
    )
    assert done.code == 0, done.err
    assert "of floor" in done.out
    assert "pgd(steps=3)" in done.out
    assert "must be at least 1" in advbench("speed", "--rounds", 0).complaint
    assert "first or end" in advbench("speed", "--stop", "never").complaint


def test_what_is_not_installed_is_left_out_and_said_so(advbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "here", False)
    done = advbench(
        "speed", "--model", "toy", "--dataset", "toy-blots", "--attack", "pgd(steps=2)", "--examples", 4, "--rounds", 1
    )
    assert done.code == 0, done.err
    assert 'left out: torchattacks, not installed (pip install "advbench[peers-torchattacks]")' in done.out
    assert "left out: adv-lib, not installed (pip install --no-deps adv-lib tqdm)" in done.out


def test_every_extra_that_a_page_or_a_message_names_is_one_and_every_library_has_its_way() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pages = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    named = {extra for text in (*pages, *INSTALL.values()) for extra in re.findall(r"advbench\[([\w,-]+)\]", text)}
    assert named <= set(extras)
    assert {f"advbench[{extra}]" for extra in extras if extra.startswith("peers-")} == {
        way.split('"')[1] for way in INSTALL.values() if '"' in way
    }
    assert {peer.library for peer in PEERS} == set(INSTALL)


def fails(s: Setting) -> Tensor:
    raise TypeError("no \x1b[31msuch\x1b[0m module")


def test_a_peer_that_fails_is_a_row_with_its_reason_and_the_others_are_raced() -> None:
    asked = []

    def refuses(s: Setting) -> Tensor:
        asked.append(1)
        return s.images[:2]

    def works(s: Setting) -> Tensor:
        return s.images

    rows = rows_of(DeepFool(steps=3), [("one", fails), ("two", refuses), ("three", works), ("four", works)], rounds=3)
    assert list(rows) == ["advbench", "one", "two", "three", "four", BEST]
    assert rows["one"] == Row("one", failed=rows["one"].failed)
    assert rows["one"].failed.startswith("TypeError: no ")
    assert rows["two"].failed == "it returned (2, 1, 8, 8) for images of (8, 1, 8, 8)"
    assert len(asked) == 1, "who failed once is not asked again"
    assert rows["three"].accuracy == 1.0
    assert rows["three"].ratio is not None
    assert not rows["advbench"].failed


def test_an_attack_of_ours_that_fails_is_a_row_too() -> None:
    class Broken(PGD):
        def perturb(self, problem: Problem) -> Tensor:
            raise IndexError("nowhere")

    rows = rows_of(Broken(), [("one", lambda s: s.images)])
    assert rows["advbench"].failed == "IndexError: nowhere"
    assert rows["one"].ratio is None
    assert rows["one"].accuracy == 1.0


def test_the_command_goes_on_after_what_fails(advbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [Peer("ART", "torch", "pgd", frozenset({"linf"}), fails)]
    monkeypatch.setattr("advbench_peers.peers.peers_of", lambda attack, threat: peers)
    toys = ("speed", "--dataset", "toy-blots", "--attack", "pgd(steps=2)", "--examples", 4, "--rounds", 1)
    done = advbench(*toys, "--model", "toy", COLUMNS="200")
    assert done.code == 0, done.err
    assert "ART failed: TypeError: no" in done.out
    assert "\x1b" not in done.out
    done = advbench(*toys, "--model", "toy-crashing", "--model", "toy", "--attack", "toy-sulking")
    assert done.code == 1
    assert "failed: toy-crashing: ValueError: no such layer" in done.out
    assert "advbench failed: RuntimeError: not" in " ".join(done.out.split())
    assert "Traceback" not in done.out + done.err


def test_the_table_beside_the_peers_names_the_fastest_first_and_leaves_out_who_failed() -> None:
    rows = [
        Row(OURS, 2.0, 1.0, accuracy=0.0, norm=0.5, floor=1.25),
        Row("slow", 4.0, 2.0, accuracy=0.0, norm=0.75),
        Row("fast", 3.0, 1.5, accuracy=0.0, norm=0.625),
        Row("broken", failed="AssertionError: no start"),
        Row(BEST, 7.0, 3.5, accuracy=0.0, norm=0.625),
    ]
    ball = "`small-cnn`, l2, 200, `end`"
    assert line(TableRow("ddn", "l2"), rows) == (
        f"| `ddn` | {ball} | fast 1.50; slow 2.00 | 1.25 | 0.5000 | fast 0.6250; slow 0.7500 |"
    )
    together = f"| `brendel-bethge` | {ball} | {BEST} 3.50 | 1.25 | 0.5000 | {BEST} 0.6250 |"
    assert line(TableRow("brendel-bethge", "l2"), rows) == together
    failed = [Row(OURS, failed="IndexError: nowhere"), Row("fast", 3.0, None, accuracy=0.0)]
    assert line(TableRow("ddn", "l2"), failed) == f"| `ddn` | {ball} | – | IndexError: nowhere |  | – |"


def test_every_row_of_the_table_beside_the_peers_can_be_raced() -> None:
    attacks = discover().attacks
    for setting in SETTINGS:
        name, threat = (spec.split("(")[0] for spec in (setting.attack, setting.threat))
        assert peers_of(attacks[name], threat), setting


def test_a_search_in_float64_reaches_the_network_in_float32() -> None:
    net = InSingle(scene(Linf(0.1)).target.net)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    logits = net(x)
    assert logits.dtype == torch.float32
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert gradient.dtype == torch.float64


def test_adv_lib_is_imported_without_visdom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adv_lib").mkdir()
    (tmp_path / "adv_lib/__init__.py").touch()
    (tmp_path / "adv_lib/attacks.py").write_text("import visdom\nddn = 'here'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] in ("adv_lib", "visdom")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("adv_lib", "adv_lib.attacks"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    assert adv_lib_attacks().ddn == "here"
    if not importlib.util.find_spec("visdom"):
        assert "visdom" not in sys.modules


BALLS = {"linf": Linf(0.1), "l2": L2(0.8), "rotate-shift": RotateShift(), "wasserstein": Wasserstein(0.4, kernel=3)}
FEW = {"steps": 8, "queries": 200, "rounds": 2}
WALK = [
    pytest.param(peer, ball, id=f"{peer.library} {peer.detail} {peer.attack} {ball}")
    for peer in PEERS
    for ball in sorted(peer.threats)
]


def test_a_competitor_that_starts_at_another_librarys_result_needs_both(monkeypatch: pytest.MonkeyPatch) -> None:
    (peer,) = [peer for peer in PEERS if peer.detail == "50 after DDN"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "foolbox" or None)
    assert not peer.here
    assert "peers-foolbox" in peer.install
    assert "adv-lib" in peer.install


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize(("peer", "ball"), WALK)
def test_an_adapter_gets_images_from_the_library_that_it_is_for(peer: Peer, ball: str) -> None:
    if not peer.here:
        pytest.skip(f"{peer.library} is not installed: {peer.install}")
    stage = scene(BALLS[ball], count=6)
    attack = next(attack for attack in discover().attacks.values() if attack.name == peer.attack)
    attack = replace(attack, **{name: value for name, value in FEW.items() if name in attack.params()})
    eps = math.inf if attack.minimizes else stage.threat.eps
    net, x = stage.target.net, stage.images
    setting = Setting(net, x.clone(), stage.labels, ball, eps, stage.threat.params(), 10, attack, seed=0)
    images = peer.run(setting)
    assert images.shape == x.shape
    assert torch.equal(setting.images, x), "the library wrote into the images that everybody is given"
    assert bool(images.isfinite().all())
