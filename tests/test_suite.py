"""Suites: what is read is what was written, and every mistake is told with its place."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from advbench.access import Access
from advbench.errors import AdvbenchError
from advbench.plugin import Attack, Dataset, Defense, Model
from advbench.registry import Registry
from advbench.suite import Overrides, Suite, embedded_suites, load_suite, suite_from_mapping
from advbench.threats import Linf


@dataclass(frozen=True)
class Noise(Attack):
    name = "noise"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    def perturb(self, problem: Any) -> Any: ...


@dataclass(frozen=True)
class Steps(Noise):
    name = "pgd"
    steps: int = 40
    travel: float = 2.5


@dataclass(frozen=True)
class Net(Model):
    name = "net"
    width: int = 8

    def build(self, dataset: Any) -> Any: ...
    def recipe(self, dataset: Any) -> Any: ...


@dataclass(frozen=True)
class Nothing(Defense):
    name = "none"


@dataclass(frozen=True)
class Training(Defense):
    name = "training"
    threat: str = "linf(eps=0.3)"
    steps: int = 7


@dataclass(frozen=True)
class Digits(Dataset):
    name = "digits"
    shape = (1, 4, 4)
    class_names = tuple("0123456789")

    def load(self, folders: Any) -> Any: ...
    def find(self, folders: Any) -> Any: ...


@dataclass(frozen=True)
class Pair(Digits):
    name = "pair"
    class_names = ("a", "b")


@pytest.fixture
def registry() -> Registry:
    def by_label(*entrants: Any) -> dict[str, Any]:
        return {entrant.label: entrant for entrant in entrants}

    return Registry(
        attacks=by_label(Noise(), Steps()),
        models=by_label(Net()),
        defenses=by_label(Nothing(), Training()),
        datasets=by_label(Digits(), Pair()),
    )


SMALL = """\
data: digits
models: [net, "net(width=16)"]
defenses: [none, training]
attacks: [noise, pgd]
threats: [linf(eps=0.2)]
"""


def read(folder: Path, registry: Registry, text: str, **overrides: Any) -> Suite:
    path = folder / "mine.yaml"
    path.write_text(text)
    return load_suite(path, registry, Overrides(**overrides))


def mistakes(folder: Path, registry: Registry, text: str, **overrides: Any) -> list[str]:
    """What is told, without the name of the file."""
    with pytest.raises(AdvbenchError) as caught:
        read(folder, registry, text, **overrides)
    return str(caught.value).replace(f"{folder / 'mine.yaml'}:", "").splitlines()


def test_a_small_suite_has_the_documented_defaults(tmp_path: Path, registry: Registry) -> None:
    suite = read(tmp_path, registry, SMALL)
    assert (suite.name, suite.seed, suite.stop, suite.shard) == ("mine", 0, "first", 100)
    assert (suite.budget, suite.timeout, suite.false_positive_rate) == (None, None, 0.05)
    assert [model.label for model in suite.models] == ["net", "net(width=16)"]
    (board,) = suite.boards
    assert board.name == "digits/linf/0.2"
    assert (board.examples, board.goals, board.required) == (None, ("untargeted",), ("noise", "pgd"))


def test_every_form_that_the_documentation_shows_is_understood(tmp_path: Path, registry: Registry) -> None:
    text = """
    name: all forms
    data: [digits, pair]
    examples: 200
    timeout: 8e-3
    budget: null
    stop: end
    models: net
    defenses:
      - none
      - training: {steps: 3, threat: {linf: {eps: 8/255}}}
      - training(threat=linf(eps=0.1))
    attacks:
      - pgd(steps=20, travel=5/2)
      - {pgd: {steps: 5, travel: .5}}
      - noise:
    goals: [untargeted, class=1, {class: 0}, each]
    threats:
      - linf(eps=8/255)
      - l2: {eps: 8e-3, examples: 7}
      - wasserstein(eps=0.5, kernel=5):
          examples: 50
          attacks: [pgd(steps=15), noise]
          goals: random
          required: [pgd(steps=15)]
          data: digits
    """
    suite = read(tmp_path, registry, text)
    assert suite.timeout == 0.008
    assert [chain[0].label for chain in suite.defenses] == [
        "none",
        'training(threat="linf(eps=8/255)", steps=3)'.replace("8/255", repr(8 / 255)),
        'training(threat="linf(eps=0.1)")',
    ]
    assert [board.name for board in suite.boards] == [
        "digits/linf/8/255",
        "pair/linf/8/255",
        "digits/l2/0.008",
        "pair/l2/0.008",
        "digits/wasserstein/p=1,kernel=5,eps=0.5",
    ]
    first, second, small = suite.boards[0], suite.boards[2], suite.boards[-1]
    assert [attack.label for attack in first.attacks] == ["pgd(steps=20)", "pgd(steps=5, travel=0.5)", "noise"]
    assert first.goals == ("untargeted", "class=1", "class=0", "each")
    assert (first.examples, second.examples, small.examples) == (200, 7, 50)
    assert (small.goals, small.required) == (("random",), ("pgd(steps=15)",))


def test_settings_are_json_and_give_the_same_suite_back(tmp_path: Path, registry: Registry) -> None:
    text = SMALL + "seed: 7\ntimeout: 2\nname: x\n"
    suite = read(tmp_path, registry, text.replace("digits", "[digits, pair]"))
    assert suite_from_mapping(json.loads(json.dumps(suite.settings)), registry) == suite


BAD = {
    "seed: '7'": "6:7: seed: expected a whole number, got the text '7'; leave out the quotes",
    "examples: 200.0": "6:11: examples: expected a whole number or null, got 200.0; write 200",
    "examples: '200'": "6:11: examples: expected a whole number or null, got the text '200'; leave out the quotes",
    "examples: 0": "6:11: examples: must be at least 1, not 0",
    "examples: -3": "6:11: examples: must be at least 1, not -3",
    "shard: 0": "6:8: shard: must be at least 1, not 0",
    "budget: 1:30": "6:9: budget: expected a whole number or null, got the text '1:30'",
    "timeout: 0": "6:10: timeout: must be above 0, not 0",
    "timeout: yes": "6:10: timeout: expected a number (0.3, 8e-3, 8/255, inf) or null, got the text 'yes'",
    "stop: frist": "6:7: stop: expected one of first, end, got the text 'frist'",
    "false_positive_rate: 1": "6:22: false_positive_rate: must lie between 0 and 1, not 1",
    "name: 2020": '6:7: name: expected a text, got 2020; write "2020" if it is a text',
    "name: ''": "6:7: name: must be a printable text, not ",
    "sede: 1": "6:1: unknown key 'sede'; did you mean 'seed'?",
    "data: pair": "6:1: duplicate key 'data' (first in line 1)",
    "? [a]\n: 1": "6:3: a key must be a name",
    "goals: []": "6:1: goals: empty; name at least one",
    "goals:": "6:1: goals: empty; name at least one",
    "goals: untargetd": "6:8: unknown goal 'untargetd' (known: untargeted, random, least-likely, class=k, each); "
    "did you mean 'untargeted'?",
    "goals: [class=10]": "6:8: goal 'class=10': the data set has classes 0 to 9 (digits)",
    "goals: [each, each]": "6:15: goals: 'each' is listed twice",
}


@pytest.mark.parametrize("line", list(BAD))
def test_a_wrong_setting_is_told_with_line_and_column(tmp_path: Path, registry: Registry, line: str) -> None:
    assert mistakes(tmp_path, registry, SMALL + line + "\n") == [BAD[line]]


# the mark ^ stands before the character that the error must point at
REPLACED = [
    ("attacks", "[noise, ^pdg]", "unknown attack 'pdg' (known: noise, pgd); did you mean 'pgd'?"),
    ("^attacks", "[]", "attacks: empty; name at least one"),
    ("attacks", "[noise, ^noise]", "attacks: 'noise' is listed twice"),
    ("attacks", "[pgd, ^pgd(steps=40)]", "attacks: 'pgd' is listed twice"),
    ("attacks", "[noise, pgd(^stes=3)]", "pgd has no parameter 'stes' (known: steps, travel); did you mean 'steps'?"),
    ("attacks", "['pgd(steps=3, ^stes=3)']", "pgd has no parameter 'stes'"),
    ("attacks", "[pgd(^steps=3.5)]", "steps: expected a whole number, got 3.5"),
    ("attacks", "[pgd(^3)]", "a value without a parameter's name; write pgd(parameter=3)"),
    ("attacks", "[pgd(steps=3^, travel=2)]", "expected ',' or ')', found the end; inside [ ] YAML splits at commas"),
    ("attacks", "{pgd: {^stes: 3}}", "pgd has no parameter 'stes'"),
    ("attacks", "{pgd: ^3}", "pgd: expected parameters, as in {pgd: {parameter: value}}"),
    ("attacks", "{pgd(steps=3): {^steps: 4}}", "'steps' is given twice"),
    ("attacks", "^{pgd: {steps: 3}, noise: {}}", "expected one attack, got several keys; start each attack with '- '"),
    ("attacks", "[^[noise]]", "expected an attack, as name or name(parameter=value), got ['noise']"),
    ("attacks", "[^!!python/object/apply:os.system [ls]]", "the tag 'tag:yaml.org,2002:python/object"),
    ("models", "[^ned]", "unknown model 'ned' (known: net); did you mean 'net'?"),
    ("models", "[^noise]", "unknown model 'noise'"),
    ("^defenses", "[]", "defenses: empty; name at least one"),
    ("defenses", "[^none+training]", "'none' stands alone"),
    ("defenses", "[^training+training]", "defense 'training' stands twice"),
    ("defenses", "[^training+trainin]", "unknown defense 'trainin'"),
    ("defenses", "[training, ^training(steps=7)]", "defenses: 'training' is listed twice"),
    ("data", "[^digit]", "unknown data set 'digit'"),
    ("^threats", "[]", "threats: empty; name at least one"),
    ("threats", "[^lnif(eps=1)]", "unknown threat 'lnif' (known: linf"),
    ("threats", "[^linf(eps=-0.1)]", "linf: eps must be at least 0, not -0.1"),
    ("threats", "[linf(^eps=.nan)]", "eps: expected a number"),
    ("threats", "[linf(^esp=1)]", "linf has no parameter 'esp' (known: eps); did you mean 'eps'?"),
    ("threats", "[linf(eps=0.1), ^linf(eps=1e-1)]", "threats: the board digits/linf/0.1 is listed twice"),
    ("threats", "{^linf: {eps: -1}}", "linf: eps must be at least 0"),
    ("threats", "{linf: {eps: 1, ^exmples: 3}}", "unknown key 'exmples'; did you mean 'examples'?"),
    ("threats", "{linf: {eps: 1, examples: ^0}}", "examples: must be at least 1, not 0"),
    ("threats", "{linf: {eps: 1, ^attacks: []}}", "attacks: empty"),
    (
        "threats",
        "{linf: {eps: 1, required: [^pgd(steps=3)]}}",
        "required: 'pgd(steps=3)' is not among the board's attacks ['noise', 'pgd']; did you mean 'pgd'?",
    ),
    ("threats", "{linf: {eps: 1, goals: ^class=99}}", "goal 'class=99': the data set has classes 0 to 9"),
]


@pytest.mark.parametrize(("key", "value", "problem"), REPLACED)
def test_a_wrong_entry_is_told_with_line_and_column(
    tmp_path: Path, registry: Registry, key: str, value: str, problem: str
) -> None:
    marked = f"{key}: {value}"
    lines = [line for line in SMALL.splitlines() if not line.startswith(key.strip("^"))]
    lines.insert(1, marked.replace("^", ""))
    told = mistakes(tmp_path, registry, "\n".join(lines))
    assert told[0].startswith(f"2:{marked.index('^') + 1}: {problem}")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path, registry: Registry) -> None:
    text = """\
data: digitz
models: [net, ner]
attacks: [noise, pgd(stes=3)]
sede: 1
threats:
  - linf(eps=-1):
      examples: 0
      attacks: [fgsm]
stop: never
"""
    assert [one.split(": ")[0] for one in mistakes(tmp_path, registry, text)] == [
        "1:7",
        "2:15",
        "3:22",
        "4:1",
        "6:5",
        "7:17",
        "8:17",
        "9:7",
    ]


def test_what_is_missing_is_named(tmp_path: Path, registry: Registry) -> None:
    told = mistakes(tmp_path, registry, "seed: 1\n")
    assert len(told) == 4
    assert {key for key in ("data", "models", "attacks", "threats") if f"'{key}' is missing" in "\n".join(told)} == {
        "data",
        "models",
        "attacks",
        "threats",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the suite is empty"),
        ("# nothing\n", "the suite is empty"),
        ("- a\n", "1:1: a suite is a mapping with the keys name, examples"),
        ("models: [net\nattacks: [noise]\n", "2:"),
        ("models:\n\t- net\n", "2:1: found character"),
        ("a: &x [*x]\n", "nested too deep"),
        ("a: " + "[" * 5000, "nested too deep"),
        ("a: \x07\n", "special characters are not allowed"),
        ("<<: {seed: 1}\n", "unknown key '<<'"),
        ("seed: 1\n---\nseed: 2\n", "2:1: but found another document"),
        ("a: *b\n", "1:4: found undefined alias 'b'"),
    ],
)
def test_a_file_that_is_no_suite_is_refused_in_words(
    tmp_path: Path, registry: Registry, text: str, problem: str
) -> None:
    assert problem in "\n".join(mistakes(tmp_path, registry, text))


def test_a_few_lines_of_aliases_cannot_fill_the_memory(tmp_path: Path, registry: Registry) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    begin = time.perf_counter()
    assert "do aliases (*name) repeat themselves?" in mistakes(tmp_path, registry, "\n".join(levels))[0]
    assert time.perf_counter() - begin < 5


def test_an_alias_stands_for_what_it_names(tmp_path: Path, registry: Registry) -> None:
    text = SMALL.replace("attacks: [noise, pgd]", "attacks: &all [noise, pgd]") + "  \n"
    text = text.replace(
        "threats: [linf(eps=0.2)]", "threats:\n  - linf(eps=0.2): {attacks: [noise], required: [noise]}"
    )
    assert read(tmp_path, registry, text + "  - l2(eps=1): {attacks: *all}\n").boards[1].required == ("noise", "pgd")


def test_files_that_cannot_be_read_are_named(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "big.yaml").write_text("#" * 1_000_001)
    (tmp_path / "latin.yaml").write_bytes(b"seed: 1\nname: caf\xe9\n")
    for name, problem in [
        ("big.yaml", "larger than 1 MB"),
        ("latin.yaml", "latin.yaml:2: not UTF-8"),
        (".", "Is a directory"),
        ("none.yaml", "no such file, and the embedded suites are quick"),
    ]:
        with pytest.raises(AdvbenchError, match=problem) as caught:
            load_suite(str(tmp_path / name), registry)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(AdvbenchError, match=r"no suite 'quik'.*did you mean 'quick'"):
        load_suite("quik", registry)


def test_the_command_line_replaces_what_the_file_says(tmp_path: Path, registry: Registry) -> None:
    suite = read(
        tmp_path,
        registry,
        SMALL.replace("linf(eps=0.2)", "{linf: {eps: 0.2, examples: 5, attacks: [pgd], data: digits}}"),
        examples=3,
        seed=9,
        stop="end",
        attacks=["noise"],
        models=["net(width=4)"],
        defenses=["training"],
        data=["pair"],
        goals=["class=1"],
        shard=10,
        budget=100,
        timeout=1.5,
    )
    (board,) = suite.boards
    assert (board.name, board.examples, board.goals, board.required) == ("pair/linf/0.2", 3, ("class=1",), ("noise",))
    assert (suite.seed, suite.stop, suite.shard, suite.budget, suite.timeout) == (9, "end", 10, 100, 1.5)
    assert [model.label for model in suite.models] == ["net(width=4)"]
    assert [chain[0].label for chain in suite.defenses] == ["training"]


def test_a_threat_from_the_command_line_keeps_what_the_file_says_of_its_family(
    tmp_path: Path, registry: Registry
) -> None:
    text = SMALL.replace(
        "threats: [linf(eps=0.2)]",
        "threats:\n  - l2(eps=x)\n  - linf(eps=0.2)\n  - linf(eps=0.3): {examples: 5, attacks: [pgd], required: [pgd]}",
    )
    close, wide, other = read(tmp_path, registry, text, threats=["linf(eps=0.2)", "linf(eps=0.4)", "l2(eps=1)"]).boards
    assert (close.examples, len(close.attacks)) == (None, 2), "the very same threat comes before its family"
    assert (wide.name, wide.examples, wide.required) == ("digits/linf/0.4", 5, ("pgd",))
    assert (other.examples, len(other.attacks)) == (None, 2)
    (board,) = read(tmp_path, registry, text, threats=["linf(eps=0.4)"], attacks=["noise"], examples=9).boards
    assert (board.examples, board.required) == (9, ("noise",))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"examples": 0}, "--examples: must be at least 1, not 0"),
        ({"attacks": ["pgd(stes=3)"]}, "--attack \"pgd(stes=3)\": pgd has no parameter 'stes'"),
        ({"attacks": ["pgd(steps=3"]}, "--attack \"pgd(steps=3\": expected ',' or ')', found the end"),
        ({"models": ["ned"]}, "--model \"ned\": unknown model 'ned'"),
        ({"defenses": ["trainin"]}, '--defense "trainin": unknown defense'),
        ({"threats": ["linf(eps=-1)"]}, '--threat "linf(eps=-1)": linf: eps must be at least 0'),
        ({"goals": ["class=99"]}, "--goal: goal 'class=99': the data set has classes 0 to 9"),
        ({"data": ["digit"]}, "--dataset \"digit\": unknown data set 'digit'"),
        ({"stop": "never"}, "--stop: expected one of first, end"),
    ],
)
def test_a_wrong_option_is_called_by_its_own_name(
    tmp_path: Path, registry: Registry, overrides: dict[str, Any], told: str
) -> None:
    (line,) = mistakes(tmp_path, registry, SMALL, **overrides)
    assert line.startswith(told)


def test_the_python_door_takes_instances_and_tells_where_a_mistake_stands(registry: Registry) -> None:
    mapping: dict[str, Any] = {
        "data": Digits(),
        "models": [Net(width=3)],
        "defenses": ["none", Training(), [Training(steps=2), "training"]],
        "attacks": [Steps(steps=2), "noise"],
        "threats": [Linf(eps=0.1), "l2(eps=1)", {"linf": {"eps": "8/255", "examples": 3}}],
    }
    suite = suite_from_mapping(mapping, registry, name="door")
    assert suite.name == "door"
    assert [len(chain) for chain in suite.defenses] == [1, 1, 2]
    assert [board.name for board in suite.boards] == ["digits/linf/0.1", "digits/l2/1", "digits/linf/8/255"]
    with pytest.raises(AdvbenchError) as caught:
        suite_from_mapping({**mapping, "models": ["net", Steps()], "attacks": [{"pgd": {"stes": 3}}]}, registry)
    told = str(caught.value).splitlines()
    assert told[0].startswith("models[1]: expected a model, got pgd")
    assert told[1].startswith("attacks[0].pgd.stes: pgd has no parameter 'stes'")


def test_the_embedded_suite_is_packaged_and_names_what_the_readme_promises() -> None:
    from advbench.registry import discover

    assert "quick" in embedded_suites()
    suite = load_suite("quick", discover())
    assert [model.label for model in suite.models] == ["convnet", "cnn-cr"]
    assert [board.examples for board in suite.boards] == [200, 200, 200, 50]
    assert [attack.label for attack in suite.boards[-1].attacks] == ["noise", "pgd(steps=15)"]
