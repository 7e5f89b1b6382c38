"""Attacks of other libraries as entrants, on a machine that need not have the libraries."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, NoReturn

import foreign_refusals
import pytest
import yaml

from advbench import Access, AdvbenchError, NotInstalledError
from advbench.plugins.declarations import check_declarations
from advbench.plugins.discovery import discover
from advbench.plugins.spec import parse
from advbench.plugins.values import configure
from advbench.testing import checks
from advbench.testing.check import run_checks
from advbench.testing.scene import scene
from advbench.threats import Linf
from advbench_foreign import Foolbox, Torchattacks
from advbench_foreign.foreign import Foreign

BOTH = (Foolbox(), Torchattacks())


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where neither library is installed."""

    def version(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("advbench_foreign.foreign.version", version)
    for one in BOTH:
        for module in [name for name in sys.modules if name.split(".")[0] == one.library]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, one.library, None)


@pytest.mark.usefixtures("bare")
def test_every_attack_that_is_known_declares_itself_without_its_library() -> None:
    for attack in [type(one)(attack=name) for one in BOTH for name in one.table]:
        check_declarations(attack)
        stored = json.loads(json.dumps(attack.params()))
        assert configure(type(attack), stored) == configure(type(attack), parse(attack.label).params) == attack


def test_an_attack_is_named_even_where_it_is_the_default() -> None:
    assert [one.label for one in BOTH] == ["foolbox(attack=LinfPGD)", "torchattacks(attack=PGD)"]


@pytest.mark.usefixtures("bare")
def test_arguments_of_the_library_stand_beside_ours_in_any_order() -> None:
    one, other = (
        discover().attack(f"foolbox(attack=L2PGD, {more})")
        for more in ("steps=7, keep=path, abs_stepsize=0.5", "abs_stepsize=0.5, keep=path, steps=7")
    )
    assert one == other
    assert one.label == "foolbox(attack=L2PGD, keep=path, abs_stepsize=0.5, steps=7)"
    assert one.params() == {"attack": "L2PGD", "keep": "path", "abs_stepsize": 0.5, "steps": 7}
    listed = discover().attack("torchattacks(attack=PGD, odd=[1, [2, 3]])")
    assert listed.params()["odd"] == [1, [2, 3]]
    assert hash(listed) == hash(configure(type(listed), listed.params()))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("foolbox(attack=LinfPDG)", "foolbox has no attack 'LinfPDG'; did you mean 'LinfPGD'?"),
        ("torchattacks(attack=zzzz)", "torchattacks has no attack 'zzzz'; known are APGD, APGDT"),
        ("torchattacks(attack=OnePixel)", "OnePixel can't be entered: it counts changed pixels"),
        ("foolbox(keep=best)", "keep: expected one of returned, path"),
    ],
)
@pytest.mark.usefixtures("bare")
def test_what_is_no_attack_is_refused_in_one_line(written: str, words: str) -> None:
    with pytest.raises(AdvbenchError) as error:
        discover().attack(written)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("attack", BOTH, ids=lambda one: one.library)
@pytest.mark.usefixtures("bare")
def test_a_missing_library_is_named_with_the_extra_that_brings_it(attack: Foreign) -> None:
    words = rf'{attack.library} is not installed; pip install "advbench\[{attack.library}\]"'
    stage = scene(Linf(0.1))
    with pytest.raises(NotInstalledError, match=words):
        attack.perturb(stage.problem(attack))
    with pytest.raises(NotInstalledError, match=words):
        attack.content()


@pytest.mark.usefixtures("bare")
def test_the_kit_leaves_out_what_is_not_installed() -> None:
    said = list(run_checks(checks(Foolbox())))
    assert {one.ok for one in said if "due" in one.name or "ball" in one.name} == {None}
    assert not [one for one in said if one.ok is False]


@pytest.mark.usefixtures("bare")
def test_a_run_without_the_library_ends_in_one_line_before_anything_is_crafted(advbench: Any, tmp_path: Path) -> None:
    db = tmp_path / "r.sqlite"
    suite = {
        "name": "foreign",
        "data": "toy-blots",
        "examples": 8,
        "models": ["toy"],
        "attacks": ["noise", "foolbox(steps=3)"],
        "threats": ["linf(eps=0.2)"],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    done = advbench("run", tmp_path / "suite.yaml", "--db", db)
    assert done.code == 2
    assert 'foolbox: foolbox is not installed; pip install "advbench[foolbox]"' in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not db.exists()


def test_the_page_lists_what_can_be_entered() -> None:
    page = foreign_refusals.DOCUMENT.read_text(encoding="utf-8")
    begin, end = foreign_refusals.KNOWN
    written = page.split(begin)[1].split(end)[0]
    assert written == foreign_refusals.known_table(), "python tests/foreign_refusals.py --write --log … writes it"


def test_what_an_attack_is_told_follows_from_its_name() -> None:
    assert Foolbox().needs == Access.GRADIENTS
    assert Foolbox(attack="BoundaryAttack").needs == Access.LABELS
    assert Foolbox(attack="BoundaryAttack").minimizes
    assert Foolbox(attack="HopSkipJumpAttack").threats == {"linf", "l2"}
    assert Torchattacks(attack="Square").needs == Access.LOGITS
    assert Torchattacks(attack="Square").beyond_gradients
    assert not Torchattacks(attack="APGD").targeted
