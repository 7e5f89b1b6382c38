"""What stands behind a robust accuracy when nobody names attacks: one table, which every ball is in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from advbench import AdvbenchError, evaluate
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.suite.standard import STANDARD, standard_attacks
from advbench.threats import advbench_threats
from advbench.threats.l2 import L2
from advbench.threats.linf import Linf

THREATS = {ball.name: type(ball) for ball in advbench_threats()}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


def test_every_ball_has_its_attacks_and_they_serve_it(registry: Registry) -> None:
    assert STANDARD.keys() == THREATS.keys()
    for name, kind in THREATS.items():
        found = standard_attacks(kind(), registry)  # type: ignore[call-arg]  # every ball has a radius of its own
        assert tuple(attack.label for attack in found) == STANDARD[name]
        assert all(attack.searches(kind()) for attack in found)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", THREATS)
def test_the_evidence_is_weak_in_no_ball_for_which_something_better_is_known(registry: Registry, name: str) -> None:
    ball = THREATS[name]()  # type: ignore[call-arg]
    known = any(attack.beyond_gradients and attack.searches(ball) for attack in registry.attacks.values())
    assert any(attack.beyond_gradients for attack in standard_attacks(ball, registry)) == known


def test_what_does_not_serve_the_ball_is_left_out_and_no_attack_at_all_is_an_error(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STANDARD, "linf", ("cw", "fgsm"))  # type: ignore[arg-type]  # a mapping to read, but a dict
    assert [attack.name for attack in standard_attacks(Linf(), registry)] == ["fgsm"]
    monkeypatch.setitem(STANDARD, "linf", ("cw",))  # type: ignore[arg-type]
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), torch.full((2, 1, 4, 4), 0.5)
    with pytest.raises(AdvbenchError, match=r"threats\[0\]: no attacks are standard in linf balls: name some"):
        evaluate(net, x, torch.tensor([0, 1]), threats=[Linf(0.1), L2(0.1)], registry=registry)


def test_each_ball_is_searched_by_its_own_when_no_attack_is_named(registry: Registry) -> None:
    torch.manual_seed(0)
    x = torch.rand(6, 1, 6, 6)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        y = net(x).argmax(1)
    balls = ["linf(eps=0.02)", "l2(eps=0.1)", "rotate-shift(degrees=5, pixels=0.5)", "wasserstein(eps=0.05, kernel=3)"]
    found = evaluate(net, x, y, threats=balls, registry=registry)
    assert not found.failed
    assert not found.skipped
    attacked: dict[str, set[str]] = {}
    for row in found.rates:
        attacked.setdefault(row["board_name"].split("/")[1], set()).add(row["entrant"])
    assert attacked == {name: set(STANDARD[name]) for name in ("linf", "l2", "rotate-shift", "wasserstein")}
    assert all(value is not None for value in found.robust_accuracy.values())
    assert {note.kind for note in found.notes} <= {"weak evidence"}
    weak = {note.board for note in found.notes}
    assert weak <= {board.key for board in found.store.boards() if board.threat == "wasserstein"}


def test_masked_gradients_do_not_look_robust_to_who_names_no_attack(registry: Registry) -> None:
    class Masked(nn.Module):
        """A plane that only answers in steps: wherever a gradient is taken, it is zero."""

        def __init__(self) -> None:
            super().__init__()
            self.plane = nn.Linear(36, 2)
            with torch.no_grad():
                self.plane.weight.copy_(torch.stack([torch.ones(36), -torch.ones(36)]))
                self.plane.bias.copy_(torch.tensor([-18.0, 18.0]))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (self.plane(images.flatten(1)) * 4).round() / 4

    net, x = Masked(), torch.full((8, 1, 6, 6), 0.5)
    x += torch.linspace(-0.04, 0.04, 8).view(-1, 1, 1, 1)
    with torch.no_grad():
        y = net(x).argmax(1)
    (quick,) = evaluate(net, x, y, threats="linf(eps=0.1)", attacks=["fgsm", "pgd"], registry=registry).rates[:1]
    found = evaluate(net, x, y, threats="linf(eps=0.1)", registry=registry)
    assert quick["accuracy"] == 1
    assert found.robust_accuracy == {"given/linf/0.1": 0.0}


@pytest.mark.parametrize(
    ("attack", "beyond"),
    [
        ("autoattack", True),
        ("autoattack(version=rand)", False),  # without its last part
        ("brendel-bethge", True),
        ("brendel-bethge(far=0)", False),  # from the clean side alone
        ("square", True),
        ("grid", True),
        ("hopskipjump", True),
        ("pgd", False),
        ("fab", False),
        ("noise", False),
        ("worst-of-k", False),
        ("repeat", False),
    ],
)
def test_an_attack_says_whether_it_finds_what_gradients_do_not_lead_to(
    registry: Registry, attack: str, beyond: bool
) -> None:
    assert registry.attack(attack).beyond_gradients is beyond
