"""Balls enter through a hook, the core's like everybody's; nothing that was stored of the six moves by it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from advbench import AdvbenchError, Draws, Linf, Threat, evaluate
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.run.keys import board_key, board_says, cell_key, cell_says
from advbench.store.rows import BoardRow, CellRow
from advbench.testing import checks, run_checks
from advbench.threats import is_core

Advbench = Callable[..., Any]

KEYS = {
    "linf": (
        "d36b2cf4488ff7775c8970ce126b79a31bdcdba04429c199376c44715a234b32",
        "a9920592f4cf37970d559f41ad9e818b9aab79432fa1e98df69c2a5444548c53",
    ),
    "l2": (
        "27e51d0d893fe70b7e8df4310a49e8763cdf83589839ef2e5a70e12ef694eea9",
        "6d3239ca0979394369de794a654e1ca7e5f3461517962664b2b2c2b39aa66dc2",
    ),
    "rotate-shift": (
        "54b1a9405a6d7d96060703506899141494debb64aa6bcfe8026413331a2386f9",
        "6e68f2d4b8963b79a182554c1cd52b2b47d2cdc1b576e8eaa8e84354300c143f",
    ),
    "wasserstein": (
        "6573ad436b484970cc65986c403de6ee21ee0c71756ae3a89718a4960ed82916",
        "2509ff7f8f656d3a0156dcfc6c26fc5656e106ab915a67b6378699dedf63fdb0",
    ),
    "corruption": (
        "13ce5d604fa37c6ebd1ca097733b04bf072e5b1e26afedddfead64e07c3eaa92",
        "2cfa695e8c7467bd01058933212c8a6240f0a830e1368fad0fe54a52f77f8d4d",
    ),
    "box": (
        "fcc41a9a237de63bedf84a0ecebce87285e720283c6ade056368ba5f31cea0cc",
        "9986ac2bc214e05b3a7b88ae4fb962071998a7a2cf24524b3d29d6ede3320d96",
    ),
    "l2(eps=inf)": ("e6e1a50f65c6f05ff60db29e5e5366b84f36522d27337bb1505795a0d2bd4186", ""),
    "linf(eps=0.3)": (
        "b13e682041c6891ccc1379f00206af0396fd17309ec58b80986a2ba536c7de6b",
        "f01625d2e071c0db6d0d8ca86fbc04e2555ac73abb0d997380128693531d62b2",
    ),
    "rotate-shift(eps=0.5, degrees=20, pixels=2)": (
        "652544fa22f62a724172d24910ea1c6dd153721f88da8bf62984a12c44549f53",
        "f83023c6139af47c7bfa64bdf511f5a111dd9284016aac18bfde4e77df2ffc0d",
    ),
    "wasserstein(eps=0.1, kernel=3, power=2)": (
        "058569cf10e30104c1ba8cc30b527e90434108ed516d6b289e2f70b8fab7c8cf",
        "be613423fe9dcfb39aee5f61c948726aa336f6eb1d5f739d3af1148af4cd087d",
    ),
}
"""By ball, the keys of a cell and a board of it that databases hold; an unbounded ball has no board."""

MATRIX = {
    "box": "cppn rubbish",
    "box corruption l2 linf rotate-shift wasserstein": "transfer",
    "corruption": "corruptions",
    "l2": "boundary cw ddn",
    "l2 linf": "autoattack brendel-bethge deepfool fab fmn hopskipjump repeat spectral square universal "
    "universal-deepfool universal-pgd",
    "l2 linf rotate-shift": "r-bim r-fgsm r-pgd",
    "l2 linf rotate-shift wasserstein": "apgd aware bim fgsm mi-fgsm noise pgd random",
    "rotate-shift": "grid worst-of-k",
    "wasserstein": "frank-wolfe sinkhorn wasserstein-pgd",
}
"""Which attacks have stored results in which of the core's balls."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


ORIGIN = {"distribution": "x", "version": "1", "entry_point": "y", "digest": "z"}


def keys_of(registry: Registry, ball: Threat, shipper: dict[str, str] | None) -> tuple[str, str]:
    """Those of a cell and a board, everything but the ball being the same."""
    judged: dict[str, Any] = {"dataset": "mnist", "data_fingerprint": "c" * 64, "count": 3, "examples": "b" * 64}
    judged |= {"key": "", "seed": 0, "protocol": 1}
    started: dict[str, Any] = {"source": "a" * 64, "goal": "untargeted", "stop": "first", "budget": None, "fit": None}
    started |= {"content": "", "fit_fingerprint": None, "bank_fingerprint": None, "origin": ORIGIN, "precision": None}
    cell = CellRow(**cell_says(registry.attack("pgd"), ball, shipper), **judged, **started)
    if math.isinf(ball.eps):
        return cell_key(cell), ""
    board = BoardRow(**board_says("mnist", 0, ball, shipper), **judged, required=["pgd"])
    return cell_key(cell), board_key(board)


@pytest.mark.parametrize("text", KEYS)
def test_what_is_stored_of_the_six_keeps_its_key(registry: Registry, text: str) -> None:
    ball = registry.threat(text)
    assert registry.shipper(ball) is None
    assert keys_of(registry, ball, registry.shipper(ball)) == KEYS[text]


def test_each_attack_serves_the_same_of_the_six_as_ever(registry: Registry) -> None:
    expected = {attack: set(balls.split()) for balls, attacks in MATRIX.items() for attack in attacks.split()}
    found: dict[str, set[str]] = {}
    for attack in (one for one in registry.attacks.values() if registry.origin(one).built_in):
        served = {ball.name for ball in registry.threats.values() if is_core(ball) and attack.searches(ball)}
        assert found.setdefault(attack.name, served) == served
    assert expected.items() <= found.items()  # a new attack has no past


# a stranger's ball


@dataclass(frozen=True)
class Blocks(Linf):
    """Every pixel moves by at most eps, in a package of one's own."""

    name = "blocks"

    eps: float = 0.1


class NaN(Blocks):
    name = "nan-blocks"

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return super().size(x, p) * torch.nan


class Flattened(Blocks):
    name = "flattened"

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return super().project(x, p).flatten(1)


class Outside(Blocks):
    name = "outside"

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return 1.01 * super().project(x, p)


class Restless(Blocks):
    name = "restless"

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return 0.9 * super().project(x, p)


class Scaled(Blocks):
    name = "scaled"

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        """Into the ball by one factor for all pixels: inside, and not the nearest."""
        most = p.flatten(1).abs().amax(1).view(-1, 1, 1, 1).clamp_min(self.eps)
        return super().project(x, p * (self.eps / most))


class Blind(Blocks):
    name = "blind"

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return super().size(x, p[:, :, 1:])


class Rolling(Blocks):
    name = "rolling"

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        return self.project(x, torch.rand_like(x) - 0.5)


class Crowd(Blocks):
    name = "crowd"

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return gradient / gradient.abs().amax().clamp_min(1e-9).nan_to_num(1)


class Downhill(Blocks):
    name = "downhill"

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return -super().steepest(x, gradient)


class Halved(Blocks):
    name = "halved"

    def pack(self, x: Tensor, p: Tensor) -> dict[str, Tensor]:
        return {"p": p.half()}

    def unpack(self, x: Tensor, stored: dict[str, Tensor]) -> Tensor:
        return stored["p"].to(x.dtype)


class Moving(Blocks):
    name = "moving"

    def identity(self, x: Tensor) -> Tensor:
        return torch.full_like(x, 1e-3)


class Writing(Blocks):
    name = "writing"

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return p.clamp_(-self.eps, self.eps).clamp(-x, 1 - x)


class Boasting(Blocks):
    name = "boasting"

    def size_by_definition(self, x: Tensor, p: Tensor) -> Tensor:
        return 2 * self.size(x, p)


CHEATS: dict[type[Blocks], str] = {
    NaN: "keeps-form",
    Flattened: "keeps-form",
    Outside: "projects-inside",
    Restless: "projects-once",
    Scaled: "projects-to-the-nearest",
    Blind: "has-size-0-only-without-change",
    Rolling: "starts-by-draws-alone",
    Crowd: "does-not-depend-on-the-batch",
    Downhill: "steps-uphill",
    Halved: "is-stored-without-loss",
    Moving: "changes-nothing-by-identity",
    Writing: "leaves-inputs-alone",
    Boasting: "measures-by-definition",
}


@pytest.mark.parametrize("kind", CHEATS, ids=lambda kind: kind.name)
def test_the_kit_catches_a_ball_that_breaks_the_contract_and_names_it(kind: type[Blocks]) -> None:
    failed = {found.name: found.message for found in run_checks(checks(kind())) if not found.ok}
    name = f"{kind.name}-{CHEATS[kind]}"
    assert name in failed
    assert failed[name].startswith(f"{kind.name}: ")
    assert "\n" not in failed[name]


def test_the_kit_holds_the_six_and_a_good_stranger(registry: Registry) -> None:
    six = [ball for ball in registry.threats.values() if is_core(ball)]
    found = list(run_checks(checks(*six, Blocks())))
    assert [one for one in found if not one.ok] == []
    assert {one.name.removeprefix("blocks-") for one in found if one.name.startswith("blocks-")} >= set(CHEATS.values())


# doors


HEAD = """
from dataclasses import dataclass
import torch
from advbench import Linf, Threat, hookimpl

@dataclass(frozen=True)
class Mine(Linf):
    '''Every pixel moves by at most eps.'''
    name = "mine"
    eps: float = 0.1
"""
SPOILED = {
    "size": ("def size(self, x, p):\n        return super().size(x, p) * torch.nan", "`size` gives nan"),
    "project": ("def project(self, x, p):\n        return p.flatten(1)", "`project` gives torch.float32 of (2, 64)"),
    "start": ("def start(self, x, draws):\n        raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "apply": ("def apply(self, x, p):\n        return x.double()", "`apply` gives torch.float64 of (2, 1, 8, 8)"),
}
"""By method, how a ball goes wrong in it, and what everybody is told."""
counter = itertools.count()

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A distribution `advbench-mine` with a ball `mine`, whose class ends with what a test adds."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(body: str) -> None:
        module = f"ball_of_test_{next(counter)}"
        (tmp_path / f"{module}.py").write_text(HEAD + body)
        info = tmp_path / "advbench_mine-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: advbench-mine\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[advbench]\nmine = {module}\n")

    return put


ENTER = "\n@hookimpl\ndef advbench_threats():\n    return [Mine()]\n"
MEET = ("--model", "toy", "--dataset", "toy-blots", "--attack", "noise", "--threat", "mine", "--examples", "20")


def test_a_ball_is_listed_with_who_ships_it_and_checked_by_its_name(install: Install, advbench: Advbench) -> None:
    install(ENTER)
    listed = advbench("plugins").out
    assert any("mine" in line and "advbench-mine 1.0" in line for line in listed.splitlines())
    assert "mine" in advbench("plugins", "--attacks").out.splitlines()[0]
    checked = advbench("check", "mine")
    assert checked.code == 0, checked.out
    assert "Mine" not in checked.err


@pytest.mark.parametrize("method", SPOILED)
def test_a_ball_that_breaks_its_form_is_refused_by_name_before_anything_is_made(
    install: Install, advbench: Advbench, tmp_path: Path, method: str
) -> None:
    body, reason = SPOILED[method]
    install(f"\n    {body}\n{ENTER}")
    refused = advbench("run", *MEET, "--db", tmp_path / "none.sqlite").complaint
    assert refused.startswith("mine: ")
    assert reason in refused
    assert not (tmp_path / "none.sqlite").exists()
    checked = advbench("check", "mine")
    assert checked.code == 1
    assert "mine-keeps-form" in checked.out
    with pytest.raises(AdvbenchError, match=r"^mine: [^\n]*$"):
        evaluate("toy", dataset="toy-blots", threats="mine", attacks="noise")


@pytest.mark.parametrize("name", ["linf", "box"])
def test_a_ball_whose_name_is_taken_is_refused_and_says_who_has_it(
    install: Install, advbench: Advbench, name: str
) -> None:
    install(ENTER.replace("[Mine()]", f"[type('Mine', (Mine,), {{'name': {name!r}}})()]"))
    refused = advbench("plugins").complaint
    assert f"threat {name!r} is claimed by advbench " in refused
    assert "advbench-mine 1.0" in refused
    assert advbench("plugins", ADVBENCH_PLUGINS="builtin").code == 0


def test_a_ball_from_a_notebook_can_not_take_a_name_either(toys: None) -> None:
    taken = type("Mine", (Blocks,), {"name": "linf", "__module__": __name__})
    with pytest.raises(AdvbenchError, match=r"^[^\n]*linf: the name of a ball of advbench[^\n]*$"):
        evaluate("toy", dataset="toy-blots", threats=taken(), attacks="noise")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    tolerance = 'small'", "declares tolerance = 'small'"),
        ("    offers = True", "declares offers = True; write `offers = Geometry.START | Geometry.ASCENT`"),
        ("    norm = 2", "declares norm = 2"),
        ("    convex = 1", "declares convex = 1"),
        ("    radius: float = 1.0", "'radius' is a declaration"),
        ("\nMine = Mine(0.2)\nMine.__class__.__call__ = lambda self: self", "it is entered with eps=0.2"),
    ],
)
def test_a_wrong_declaration_sets_the_ball_aside_alone(
    install: Install, advbench: Advbench, body: str, reason: str
) -> None:
    install(f"\n{body}\n{ENTER}")
    listed = advbench("plugins")
    assert listed.code == 1
    assert listed.out.startswith("broken: advbench-mine 1.0")
    assert reason in " ".join(listed.out.split())
    assert " linf " in listed.out


def test_sizes_that_turn_to_nan_later_fail_the_cell_and_name_the_ball(
    install: Install, advbench: Advbench, tmp_path: Path
) -> None:
    """Two images had sizes when the run began; what a ball says in the middle of it is not held against the attack."""
    install(f"\n    def size(self, x, p):\n        return super().size(x, p) / (0 if len(x) > 2 else 1) * 0\n{ENTER}")
    done = advbench("run", *MEET, "--db", tmp_path / "late.sqlite")
    assert done.code == 1
    said = " ".join((done.out + done.err).split())
    assert "mine: `size` gives NaN for a perturbation that is finite" in said
