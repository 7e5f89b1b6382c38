"""A plugin's digest: what its module reaches in its own distribution, and nothing of how that is written."""

from __future__ import annotations

import ast
import importlib
import itertools
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from forgetting import forget_sources

from advbench import revisions
from advbench.plugins import sources
from advbench.plugins.sources import canonical_source, core_digest, source_digest
from advbench.run.keys import cell_key
from advbench.store.rows import CellRow
from advbench.threats import advbench_threats
from advbench_attacks.apgd import APGD
from advbench_attacks.cw import CW
from advbench_attacks.pgd import PGD

COUNTER = itertools.count()
NEAR = {
    "__init__.py": "from .entrant import Entrant\nfrom .other import Other\n",
    "entrant.py": "from .common import helper\nclass Entrant:\n    def go(self):\n        from .late import late\n",
    "other.py": "class Other:\n    pass\n",
    "common/__init__.py": "",
    "common/helper.py": "A = 1\n",
    "late.py": "B = 1\n",
}


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The digests of `Entrant` and `Other` in a package of these files, which is loaded under one name each time."""

    def found(changes: dict[str, str] | None = None) -> tuple[str, str]:
        root = tmp_path / str(next(COUNTER))
        for name, text in {**NEAR, **(changes or {})}.items():
            path = root / "pack" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
            del sys.modules[name]
        forget_sources()
        importlib.invalidate_caches()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(root)
            package = importlib.import_module("pack")
            answer = source_digest(package.Entrant), source_digest(package.Other)
        shutil.rmtree(root)
        return answer

    yield found
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
        del sys.modules[name]
    forget_sources()


@pytest.mark.parametrize(
    "text",
    [
        "# why\nA = 1  # one\n",
        '"""What it is for."""\nA = 1\n"""One."""\n',
        "A = (\n    1\n)\n",
    ],
    ids=["comments", "docstrings", "layout"],
)
def test_how_a_helper_is_written_is_not_in_the_digest(digest, text: str) -> None:  # type: ignore[no-untyped-def]
    assert digest({"common/helper.py": text}) == digest()


@pytest.mark.parametrize("place", ["entrant.py", "common/helper.py", "late.py"])
def test_what_the_module_imports_counts_wherever_the_import_stands(digest, place: str) -> None:  # type: ignore[no-untyped-def]
    before, after = digest(), digest({place: NEAR[place] + "C = 3\n"})
    assert before[0] != after[0]
    assert before[1] == after[1], "the package's other plugin does not reach it"


def test_what_the_module_does_not_reach_does_not_count(digest) -> None:  # type: ignore[no-untyped-def]
    assert digest({"other.py": "class Other:\n    x = 1\n"})[0] == digest()[0]


def test_a_neighbour_that_is_no_python_counts_by_its_bytes(digest) -> None:  # type: ignore[no-untyped-def]
    assert digest({"late.py": "def ("})[0] not in (digest()[0], digest({"late.py": "def (("})[0])


def test_what_a_class_inherits_from_elsewhere_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number in (1, 2):
        (tmp_path / f"base{number}.py").write_text(f"class Base:\n    x = {number}\n")
        (tmp_path / f"child{number}.py").write_text(f"from base{number} import Base\nclass Child(Base):\n    pass\n")
        found.append(source_digest(importlib.import_module(f"child{number}").Child))
    assert found[0] != found[1]


def test_a_plugin_that_ships_reaches_its_helpers_and_no_other_attack() -> None:
    reached = sources._modules_of("advbench_attacks.pgd")
    assert {"advbench_attacks.pgd", "advbench_attacks.common.climb"} <= reached
    assert not any(name in reached for name in ("advbench_attacks", "advbench_attacks.cw", "advbench_attacks.apgd"))
    assert len({source_digest(kind) for kind in (PGD, APGD, CW)}) == 3


def test_the_tree_in_words_is_this_on_every_python() -> None:
    """A known answer: other Pythons than the one that wrote it read it here, too."""
    text = 'class A:\n    """Doc."""\n'
    text += '    def f(self, x: int = 1, *, y=None) -> str:\n        return f"a{x!r:>{y}}b{{c}}" + u"d"  # why\n'
    assert canonical_source(ast.parse(text)) == (
        "Module(body=[ClassDef(body=[FunctionDef(args=arguments(args=[arg(arg=str:'self'),arg(annotation=Name"
        "(id=str:'int'),arg=str:'x')],defaults=[Constant(value=int:1)],kw_defaults=[Constant()],kwonlyargs=[a"
        "rg(arg=str:'y')]),body=[Return(value=BinOp(left=JoinedStr(str:'a',FormattedValue(conversion=int:114,"
        "format_spec=JoinedStr(str:'>',FormattedValue(conversion=int:-1,value=Name(id=str:'y'))),value=Name(i"
        "d=str:'x')),str:'b{c}'),op=Add(),right=Constant(value=str:'d')))],name=str:'f',returns=Name(id=str:'"
        "str'))],name=str:'A')])"
    )


def test_the_digest_of_the_core_is_of_what_a_verdict_comes_from() -> None:
    reached = {name for module in sources.CRAFTING for name in sources._modules_of(module)}
    assert {"advbench.threats.linf", "advbench.problem.problem", "advbench.target.referee", "advbench.draws"} <= reached
    assert not any(name.startswith(("advbench.cli", "advbench.testing", "advbench.audit")) for name in reached)
    assert len(core_digest()) == 64


ROW = CellRow(
    key="",
    dataset="mnist",
    data_fingerprint="f",
    examples="b",
    count=1,
    threat="linf",
    family="linf",
    params={"eps": 0.1},
    eps=0.1,
    seed=0,
    protocol=3,
    ball=None,
    minimizes=0,
    attack="pgd",
    attack_params={},
    origin={"distribution": "advbench", "version": "1", "entry_point": "attacks", "digest": "d"},
    goal="untargeted",
    stop="first",
    source="a",
    budget=None,
    fit=None,
    needs="gradients",
    beyond_gradients=0,
    content="",
    fit_fingerprint=None,
    bank_fingerprint=None,
    precision=None,
)


def by(row: CellRow, **more: str) -> CellRow:
    """The cell, its attack of another origin."""
    return replace(row, origin={**(row.origin or {}), **more})


def test_a_version_is_in_no_key_where_the_source_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = by(ROW, version="2")
    assert cell_key(newer) == cell_key(ROW)
    mute = [by(row, digest="") for row in (ROW, newer)]
    assert cell_key(mute[0]) != cell_key(mute[1])


def test_a_revision_is_in_the_keys_of_the_cells_that_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {ball: cell_key(replace(ROW, threat=ball)) for ball in ("linf", "l2")}
    monkeypatch.setitem(revisions.REVISIONS, "linf", 2)
    after = {ball: cell_key(replace(ROW, threat=ball)) for ball in ("linf", "l2")}
    assert after["linf"] != before["linf"]
    assert after["l2"] == before["l2"]
    monkeypatch.setitem(revisions.REVISIONS, "problem", 2)
    assert cell_key(replace(ROW, threat="l2")) != before["l2"]
    states = list(revisions.earlier((*revisions.CELL, "linf")))
    assert len(states) == 3
    assert before["linf"] in {cell_key(ROW, state) for state in states}


def test_every_ball_of_the_core_has_a_revision() -> None:
    assert {ball.name for ball in advbench_threats()} <= revisions.REVISIONS.keys()
