"""Discovery with distributions that are really on the path: folders with metadata, as pip leaves them."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from advbench.errors import AdvbenchError, PluginError
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.plugins.sources import source_digest

Install = Callable[..., str]

HEAD = """
from dataclasses import dataclass
from advbench.access import Access
from advbench.hooks import hookimpl
from advbench.plugin import Attack, Dataset, Defense, Model

@dataclass(frozen=True)
class Shake(Attack):
    '''Shakes.'''
    name = "shake"
    threats = frozenset({"linf"})
    needs = Access.LABELS
    steps: int = 3
    def perturb(self, problem):
        return problem.start()

@dataclass(frozen=True)
class Nothing(Defense):
    name = "none"

@dataclass(frozen=True)
class Wall(Defense):
    name = "wall"
    height: float = 1.0

@dataclass(frozen=True)
class Two(Dataset):
    name = "two"
    shape = (1, 2, 2)
    class_names = ("a", "b")
    def load(self, folders): ...
    def find(self, folders): ...
"""
SHAKE = "@hookimpl\ndef advbench_attacks():\n    return [Shake()]"
counter = itertools.count()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution on the path; what it installs is all that is loaded, unless a test says otherwise."""
    installed: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)

    def put(
        body: str, distribution: str = "advbench-acme", version: str = "1.0", entry: str = "acme", head: str = HEAD
    ) -> str:
        module = f"plugin_of_test_{next(counter)}"
        (tmp_path / f"{module}.py").write_text(head + textwrap.dedent(body))
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        points = info / "entry_points.txt"
        already = points.read_text() if points.exists() else "[advbench]\n"
        points.write_text(f"{already}{entry} = {module}\n")
        installed.append(distribution)
        monkeypatch.setenv("ADVBENCH_PLUGINS", ",".join(installed))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return module

    return put


def only_broken(registry: Registry) -> str:
    assert [str(one.origin) for one in registry.broken] == ["advbench-acme 1.0 (entry point acme)"]
    assert list(registry.attacks) == ["shake"], "the plugin beside it still works"
    assert registry.broken[0].traceback.startswith("Traceback")
    return registry.broken[0].error


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('a\\x1b[31m\\nb')", "ValueError: a b"),
        ("class BaseException2(BaseException): pass\nraise BaseException2('x')", "BaseException2: x"),
        ("def broken(:", "SyntaxError"),
        ("", "it answers no hook"),
        ("def advbench_attacks():\n    return []", "advbench_attacks lacks the mark @hookimpl"),
        ("@hookimpl\ndef advbench_atacks():\n    return []", "hook 'advbench_atacks'; did you mean 'advbench_attacks'"),
        ("@hookimpl\ndef advbench_attacks(app):\n    return []", "PluginValidationError"),
        ("@hookimpl(wrapper=True)\ndef advbench_attacks():\n    return (yield)", "wraps a hook"),
        ("@hookimpl\ndef advbench_attacks():\n    raise RuntimeError('half way')", "RuntimeError: half way"),
        ("@hookimpl\ndef advbench_attacks():\n    yield Wall()", "which is not an instance of Attack"),
        ("@hookimpl\ndef advbench_attacks():\n    yield Shake(); 1/0", "ZeroDivisionError"),
        (
            "@hookimpl\ndef advbench_attacks():\n    return None",
            "returned None; it should return a list",
        ),
        ("@hookimpl\ndef advbench_attacks():\n    return 3", "returned 3"),
        ("@hookimpl\ndef advbench_attacks():\n    return 'shake'", "which is not an instance of Attack"),
        (
            "@hookimpl\ndef advbench_attacks():\n    return [Shake]",
            "the class Shake; return an instance: Shake()",
        ),
        ("@hookimpl\ndef advbench_attacks():\n    return [Shake(), Shake()]", "attack 'shake' is entered twice"),
        ("@hookimpl\ndef advbench_attacks():\n    return [Shake(steps={1})]", "JSON can't hold"),
    ],
)
def test_a_broken_plugin_is_set_aside_alone(install: Install, body: str, reason: str) -> None:
    install(body)
    install(SHAKE, "advbench-good", entry="good")
    assert reason in only_broken(discover())
    with pytest.raises(PluginError, match=r"advbench-acme 1\.0"):
        discover(strict=True)


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        ('threats = frozenset({"linf"})\n    needs = Access.LABELS', "declares no name"),
        ('name = "Shake"\n    threats = frozenset({"linf"})\n    needs = Access.LABELS', "has the name 'Shake'"),
        ('name = "a+b"\n    threats = frozenset({"linf"})\n    needs = Access.LABELS', "a name is made of"),
        ('name = "a/b"\n    threats = frozenset({"linf"})\n    needs = Access.LABELS', "a name is made of"),
        ('name = "mine"\n    needs = Access.LABELS', "declares no threats"),
        ('name = "mine"\n    threats = "linf"\n    needs = Access.LABELS', "declares threats = 'linf'; write"),
        ('name = "mine"\n    threats = frozenset()\n    needs = Access.LABELS', "declares no threats"),
        ('name = "mine"\n    threats = frozenset({"linf"})', "declares no needs"),
        ('name = "mine"\n    threats = frozenset({"linf"})\n    needs = "labels"', "declares needs = 'labels'"),
        (
            'name = "mine"\n    threats = frozenset({"linf"})\n    needs = Access.LABELS\n    minimizes = 1',
            "declares minimizes = 1",
        ),
        ('name: str = "mine"\n    threats = frozenset({"linf"})\n    needs = Access.LABELS', "'name' is a declaration"),
        (
            'name = "mine"\n    threats = frozenset({"linf"})\n    needs = Access.LABELS\n    label: str = "x"',
            "the field 'label' hides what every plugin has",
        ),
    ],
)
def test_a_missing_or_wrong_declaration_is_told_to_its_author(install: Install, declaration: str, reason: str) -> None:
    body = f"""
@dataclass(frozen=True)
class Mine(Attack):
    {declaration}
    def perturb(self, problem): ...

@hookimpl
def advbench_attacks():
    return [Mine()]
"""
    install(body)
    install(SHAKE, "advbench-good", entry="good")
    assert reason in only_broken(discover())


def test_a_forgotten_decorator_does_not_lose_a_parameter_in_silence(install: Install) -> None:
    body = """
class Mine(Shake):
    name = "mine"
    radius: float = 3.0

@hookimpl
def advbench_attacks():
    return [Mine()]
"""
    install(body)
    assert "decorate the class with @dataclass(frozen=True), or 'radius' is lost" in discover().broken[0].error


def test_ctrl_c_during_an_import_ends_the_program(install: Install) -> None:
    install("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_unreadable_metadata_of_one_distribution_does_not_hide_the_others(install: Install, tmp_path: Path) -> None:
    install(SHAKE)
    info = tmp_path / "garbled-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: garbled\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[advbench]\nno equals sign\n")
    registry = discover()
    assert list(registry.attacks) == ["shake"]
    assert "entry_points.txt can't be read" in registry.broken[0].error
    assert registry.broken[0].origin.distribution == "garbled"


def test_a_name_claimed_twice_names_both_owners_and_the_way_out(install: Install) -> None:
    install(SHAKE)
    install(SHAKE, "advbench-other", "2.1", "other")
    with pytest.raises(AdvbenchError) as caught:
        discover()
    message = str(caught.value)
    assert "attack 'shake' is claimed by advbench-acme 1.0 (entry point acme)" in message
    assert "advbench-other 2.1 (entry point other)" in message
    assert "uninstall one" in message
    assert "ADVBENCH_PLUGINS" in message


def test_one_distribution_may_enter_a_class_twice_under_different_labels_only(install: Install) -> None:
    install("@hookimpl\ndef advbench_attacks():\n    return [Shake(), Shake(steps=9)]")
    install("@hookimpl\ndef advbench_attacks():\n    return [Shake()]", entry="again")
    registry = discover()
    assert list(registry.attacks) == ["shake", "shake(steps=9)"]
    assert [(one.origin.entry_point, one.error) for one in registry.broken] == [
        ("again", "attack 'shake' is entered twice")
    ]


def test_the_environment_variable_restricts_what_loads(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(SHAKE)
    install("@hookimpl\ndef advbench_defenses():\n    return [Wall()]", "Advbench_Other", entry="other")
    for words, labels in [
        ("acme", ["shake"]),
        ("advbench-acme", ["shake"]),
        ("Advbench.ACME , advbench-other", ["shake", "wall"]),
        ("other", ["wall"]),
        ("advbench-other:other", ["wall"]),
    ]:
        monkeypatch.setenv("ADVBENCH_PLUGINS", words)
        registry = discover()
        assert [*registry.attacks, *registry.defenses] == labels
    monkeypatch.setenv("ADVBENCH_PLUGINS", "acme,othr")
    with pytest.raises(AdvbenchError, match=r"no installed plugin is called 'othr' .*did you mean 'other'"):
        discover()
    monkeypatch.setenv("ADVBENCH_PLUGINS", "builtin")
    owners = {one.distribution for one in discover().describe()} | {b.origin.distribution for b in discover().broken}
    assert owners == {"advbench"}


def test_what_was_not_loaded_is_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    module = install("raise ValueError")
    install(SHAKE, "advbench-good", entry="good")
    monkeypatch.setenv("ADVBENCH_PLUGINS", "good")
    assert discover().broken == []
    assert module not in sys.modules


ALL = """
@hookimpl
def advbench_attacks():
    return [Shake(steps=9), Shake()]

@hookimpl
def advbench_defenses():
    return (d for d in (Nothing(), Wall()))

@hookimpl
def advbench_datasets():
    return {Two()}
"""


def test_texts_find_entrants_and_set_their_parameters(install: Install) -> None:
    install(ALL)
    registry = discover(strict=True)
    assert registry.attack("shake").label == "shake", "the exact label comes first"
    assert registry.attack("shake(steps=9)") is not None
    assert registry.attack("shake( steps = 4 )").label == "shake(steps=4)"
    assert registry.dataset("two").classes == 2
    assert [d.label for d in registry.defense("wall(height=1/2)+wall")] == ["wall(height=0.5)", "wall"]
    assert [d.label for d in registry.defense("none")] == ["none"]


def test_parameters_of_the_entrant_are_the_defaults_when_no_label_matches(install: Install) -> None:
    install("@hookimpl\ndef advbench_defenses():\n    return [Wall(height=7.0)]")
    assert discover().defense("wall")[0].label == "wall(height=7)"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shak", r"unknown attack 'shak' \(known: shake\); did you mean 'shake'"),
        ("shake(stes=3)", "has no parameter 'stes'.*did you mean 'steps'"),
        ("shake(steps=many)", "steps: expected a whole number"),
        ("shake(3)", "without a parameter's name"),
    ],
)
def test_a_wrong_text_says_what_is_known(install: Install, text: str, problem: str) -> None:
    install(ALL)
    with pytest.raises(AdvbenchError, match=problem):
        discover().attack(text)


@pytest.mark.parametrize(
    ("text", "problem"), [("none+wall", "'none' stands alone"), ("wall+wall", "twice in one chain")]
)
def test_chains_that_mean_another_chain_are_refused(install: Install, text: str, problem: str) -> None:
    install(ALL)
    with pytest.raises(AdvbenchError, match=problem):
        discover().defense(text)


def test_an_unknown_name_tells_of_plugins_that_were_set_aside_or_left_out(install: Install) -> None:
    install("raise ValueError")
    with pytest.raises(AdvbenchError) as caught:
        discover().model("acme-net")
    assert "no model is installed" in str(caught.value)
    assert "may have shipped it, see `advbench plugins`: advbench-acme 1.0 (entry point acme): ValueError" in str(
        caught.value
    )
    assert "ADVBENCH_PLUGINS=advbench-acme" in str(caught.value)


def test_origins_tell_who_shipped_what_and_change_with_the_source(install: Install, tmp_path: Path) -> None:
    module = install(ALL, version="3.2")
    registry = discover(strict=True)
    origin = registry.origin(registry.attack("shake(steps=100)"))
    assert (origin.distribution, origin.version, origin.entry_point) == ("advbench-acme", "3.2", "acme")
    assert len(origin.digest) == 64
    assert origin.params()["digest"] == origin.digest
    row = next(row for row in registry.describe() if row.kind == "attack")
    assert (row.kind, row.label, row.summary) == ("attack", "shake(steps=9)", "Shakes.")
    other = install(ALL + "\nMORE = 1\n", "advbench-second", entry="second")
    digest = source_digest(__import__(other).Shake)
    assert digest not in ("", source_digest(__import__(module).Shake))


def test_a_class_from_nowhere_has_an_origin_without_owner() -> None:
    from advbench.access import Access
    from advbench.plugin import Attack

    class Local(Attack):
        name = "local"
        threats = frozenset({"linf"})
        needs = Access.LABELS

        def perturb(self, problem):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    origin = Registry().origin(Local())
    assert origin.distribution == ""
    assert len(origin.digest) == 64, "a notebook's class is known by its source"


COMMAND = """
@hookimpl
def advbench_commands(app):
    @app.command("hello")
    def hello():
        print("hello from acme")
"""


def application() -> typer.Typer:
    app = typer.Typer()
    app.command("run")(lambda: None)
    app.command("plan")(lambda: None)
    return app


def test_a_plugin_adds_a_command(install: Install) -> None:
    install(COMMAND)
    app = application()
    discover(strict=True).commands(app)
    assert "hello from acme" in CliRunner().invoke(app, ["hello"]).output


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ("    raise RuntimeError('no')", "RuntimeError: no"),
        ("    raise SystemExit(1)", "SystemExit"),
        ("    app.command('run')(lambda: None)", "the command 'run' exists already"),
        ("    app.callback()(lambda: None)", "not a callback"),
        ("    def odd(x: list[list[int]]): ...\n    app.command()(odd)", "AssertionError"),
    ],
)
def test_a_command_that_fails_takes_only_its_plugin_along(install: Install, tail: str, reason: str) -> None:
    install(SHAKE + COMMAND + tail)
    install("@hookimpl\ndef advbench_defenses():\n    return [Wall()]", "advbench-good", entry="good")
    app, registry = application(), discover()
    registry.commands(app)
    assert reason in registry.broken[0].error
    assert registry.attacks == {}
    assert list(registry.defenses) == ["wall"]
    assert len(app.registered_commands) == 2
    with pytest.raises(PluginError):
        discover(strict=True).commands(application())
