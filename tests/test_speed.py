"""`advbench speed`: a comparison is worth what its counts and its judge are worth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from advbench.clean import clean_pass
from advbench.data import Examples
from advbench.prepare import Ready
from advbench.testing.scene import scene
from advbench.threats import Linf
from advbench_attacks.pgd import PGD
from advbench_peers.libraries import Peer, Setting
from advbench_peers.peers import PEERS, peers_of
from advbench_peers.race import Race, Row
from advbench_peers.timing import Timed, in_turns, ratio

CPU = torch.device("cpu")


def raced(run: Any, attack: PGD | None = None, stop: str = "first", eps: float = 0.1) -> dict[str, Row]:
    stage = scene(Linf(eps), count=8)
    examples = Examples(stage.images, stage.labels, stage.ids)
    ready = Ready(stage.target, clean_pass(stage.target, examples, CPU), examples)
    attack = attack or PGD(steps=4)
    race = Race(attack, stage.threat, ready, CPU, "first" if stop == "first" else "end")
    peer = Peer("a peer", "torch", "pgd", frozenset({"linf"}), run)
    return {row.name: row for row in race.run([peer], rounds=1)}


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
    from advbench.discovery import discover

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
    assert "left out: torchattacks, not installed (pip install advbench[peers])" in done.out
