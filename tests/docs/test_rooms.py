"""The rooms of the house: few, without circles, with modules that can be read, and a drawing that is true."""

from __future__ import annotations

import ast
import inspect
import re

from rooms import BEGIN, DOCUMENT, END, PACKAGES, arrows, drawing, floors, modules, sentence

from advbench import Attack, Dataset, Defense, Model

ROOT = DOCUMENT.parents[1]
PLUGINS = {"advbench_attacks", "advbench_datasets", "advbench_defenses", "advbench_models", "advbench_studies"}


def test_no_room_imports_itself_on_a_detour() -> None:
    assert {room for level in floors(arrows()) for room in level} == arrows().keys()


def test_there_are_at_most_twenty_rooms_and_each_says_what_it_is_for() -> None:
    core = arrows().keys() - PACKAGES.keys()
    assert len(core) <= 20
    assert [room for room in arrows() if not sentence(room)] == []


def test_the_root_imports_from_no_room() -> None:
    assert arrows()["root"] == set()


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    assert [(m.name, m.lines) for m in modules().values() if m.lines > 400] == []


def test_what_reads_facts_needs_nothing_that_makes_them() -> None:
    """The store, what is counted from it and the pages are above the root alone."""
    assert arrows()["store"] <= {"root"}
    assert arrows()["rates"] <= {"root", "store"}
    assert arrows()["advbench_leaderboard"] <= {"root", "rates", "store"}


def test_the_core_imports_no_other_package() -> None:
    assert {room: below & PACKAGES.keys() for room, below in arrows().items() if room not in PACKAGES} == {
        room: set() for room in arrows() if room not in PACKAGES
    }


def test_built_in_plugins_import_what_strangers_are_offered_and_nothing_else() -> None:
    """The words of a plugin, and what `advbench` exports beside them."""
    assert {room: arrows()[room] for room in PLUGINS} == {room: {"root"} for room in PLUGINS}


def test_built_in_plugins_declare_as_the_page_for_authors_shows() -> None:
    """`name = "pgd"`, without the annotation that their base class has."""
    declared = {
        name for kind in (Attack, Model, Defense, Dataset) for base in kind.__mro__ for name in _annotated(base)
    }
    annotated = [
        f"{module.name}: {node.target.id}"
        for module in modules().values()
        if module.room in PLUGINS
        for node in ast.walk(ast.parse(module.path.read_text(encoding="utf-8")))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in declared
        if "ClassVar" in ast.unparse(node.annotation)
    ]
    assert annotated == []


def _annotated(kind: type) -> list[str]:
    return [name for name, annotation in inspect.get_annotations(kind).items() if "ClassVar" in str(annotation)]


def test_the_drawing_in_the_documents_is_that_of_the_imports() -> None:
    written = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert written == drawing(), "run `python tests/rooms.py`"


def test_the_map_names_modules_that_are_there() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.partition("## Where is …")[2].partition("\n## ")[0]
    places = re.findall(r"`([a-z_]+/[a-z_/]+)(?:\.([A-Za-z_]+))?`", table)
    assert len(places) > 20
    for place, name in places:
        module = ROOT / "benchmark/advbench" / f"{place}.py"
        folder = [root / place for root in (ROOT, ROOT / "benchmark/advbench") if (root / place).is_dir()]
        assert module.is_file() or folder, f"{place} is no module and no folder"
        assert not name or name in module.read_text(encoding="utf-8"), f"{place} has no {name}"
