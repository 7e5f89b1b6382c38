"""The language `name(parameter=value)` and the check of values against dataclass fields."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.errors import AdvbenchError, PluginError, did_you_mean
from advbench.parameters import Parametric
from advbench.plugins.spec import SpecError, parse, parse_chain, parse_value
from advbench.plugins.values import check, configure, core_threat


@dataclass(frozen=True)
class Everything(Parametric):
    name = "everything"

    count: int = 3
    share: float = 0.5
    loud: bool = False
    word: str = ""
    way: Literal["first", "end", 3] = "first"
    perhaps: int | None = None
    limit: float | None = None
    sizes: tuple[int, ...] = ()
    shares: tuple[float, ...] = (0.5,)
    words: tuple[str, ...] = ()
    pair: tuple[int, str] = (1, "a")
    table: tuple[tuple[float, ...], ...] = ()
    mixed: int | str | None = None
    title: str = dataclasses.field(default="", metadata={"parameter": "name"})

    def __post_init__(self) -> None:
        if self.count < 0:
            raise AdvbenchError("everything: count must be at least 0")


FLOATS = st.floats(allow_nan=False).map(lambda x: x + 0.0)  # -0 is read as 0
VALUES = st.builds(
    Everything,
    count=st.integers(min_value=0),
    share=FLOATS,
    loud=st.booleans(),
    word=st.text(),
    way=st.sampled_from(["first", "end", 3]),
    perhaps=st.none() | st.integers(),
    limit=st.none() | FLOATS,
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    shares=st.lists(FLOATS, max_size=3).map(tuple),
    words=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    pair=st.tuples(st.integers(), st.text(max_size=4)),
    table=st.lists(st.lists(FLOATS, max_size=2).map(tuple), max_size=2).map(tuple),
    mixed=st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["8/255", "3", "inf", "true", "a+b"]),
    title=st.sampled_from(
        ["", "resnet18", "linf(eps=8/255)", "/data/my weights.safetensors", r"C:\x\new.pt", "a/b", "inf", "1e3"]
    ),
)


@given(VALUES)
def test_a_label_names_exactly_the_instance_it_was_made_from(value: Everything) -> None:
    call = parse(value.label)
    assert call.label == value.label
    assert configure(Everything, call.params) == value
    assert configure(Everything(count=7, word="x"), value.params()) == value


@given(VALUES)
def test_stored_parameters_come_back_from_json(value: Everything) -> None:
    assert configure(Everything, json.loads(json.dumps(value.params()))) == value


@given(st.text())
def test_no_text_whatever_ends_in_a_traceback(text: str) -> None:
    for reader in (parse, parse_chain):
        mistake = None
        try:
            reader(text)
        except SpecError as error:
            mistake = error
        assert mistake is None or 0 <= mistake.position <= len(text)
        assert mistake is None or mistake.problem in str(mistake)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("8e-3", 0.008),
        (".5", 0.5),
        ("1e+06", 1e6),
        ("8/255", 8 / 255),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("true", True),
        ("null", None),
        ("True", "True"),
        ("nan", "nan"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("resnet-18", "resnet-18"),
        ("../weights/x.safetensors", "../weights/x.safetensors"),
        ("../weights/cnn-cr+mnist-5k.safetensors", "../weights/cnn-cr+mnist-5k.safetensors"),
        ("2020/x.bin", "2020/x.bin"),
        (r"C:\x\y.pt", r"C:\x\y.pt"),
        (r"..\weights\cnn-cr+mnist-5k.safetensors", r"..\weights\cnn-cr+mnist-5k.safetensors"),
        (r"\\server\2020\x.bin", r"\\server\2020\x.bin"),
        (r"2020\x.bin", r"2020\x.bin"),
        (r"'C:\my weights\new.pt'", r"C:\my weights\new.pt"),
        (r'"C:\\x\\y.pt"', r"C:\x\y.pt"),
        ('"8/255"', "8/255"),
        (r'"a\"b, c)"', 'a"b, c)'),
        ("'it''s'", "it's"),
        ("[1, [a, .5], ]", [1, ["a", 0.5]]),
        ("linf( eps = 8/255 )", "linf(eps=8/255)"),
        ("a(t=linf(eps=0.3, x=[1,2]))+b", "a(t=linf(eps=0.3, x=[1, 2]))+b"),
        ("not a value (at all", "not a value (at all"),
    ],
)
def test_values_mean_what_they_look_like(text: str, value: Any) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_chains_split_at_the_top_level_only() -> None:
    calls = parse_chain("adversarial-training(threat=linf(eps=0.3), then=a+b, steps=7) + reconstruction")
    assert [call.name for call in calls] == ["adversarial-training", "reconstruction"]
    assert calls[0].params == {"threat": "linf(eps=0.3)", "then": "a+b", "steps": 7}


@pytest.mark.parametrize(
    ("text", "problem", "caret"),
    [
        ("pgd(steps=20, 5)", "without a parameter's name; write pgd(parameter=5)", 14),
        ("pgd(steps=20", "expected ',' or ')', found the end", 12),
        ("pgd(steps=20))", "')' is not expected", 13),
        ("pgd(steps=1, steps=2)", "'steps' is given twice", 13),
        ("pgd(eps=8/0)", "divides by zero", 8),
        ("pgd(eps=1e999)", "infinity is written inf", 8),
        ('pgd(word="abc)', "never closed", 9),
        (r'pgd(word="C:\x")', r"write \\ for a backslash, or single quotes", 9),
        (r"a\b(x=1)", "is not a name", 0),
        ("a/b", "is not a name", 0),
        ("a+b", "only defenses are joined", 1),
        ("pgd(steps=)", "expected a value, found ')'", 10),
        ("", "expected a name, found the end", 0),
        ("x(a=" * 40 + "1" + ")" * 40, "nested deeper", 130),
        ("x" * 20_000, "longer than", 0),
    ],
)
def test_a_mistake_is_shown_with_its_place(text: str, problem: str, caret: int) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert problem in caught.value.problem
    assert caught.value.position == caret
    assert str(caught.value).splitlines()[-1].endswith("^")


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"cuont": 3}, "has no parameter 'cuont'"),
        ({"cuont": 3}, "did you mean 'count'?"),
        ({"title": "x"}, "has no parameter 'title'"),
        ({"count": 2.0}, "count: expected a whole number, got 2.0; write 2"),
        ({"count": True}, "count: expected a whole number, got true"),
        ({"count": "2"}, "count: expected a whole number, got the text '2'; leave out the quotes"),
        ({"share": True}, "share: expected a number"),
        ({"share": "0.3"}, "leave out the quotes"),
        ({"share": math.nan}, "share: expected a number"),
        ({"share": "many"}, "share: expected a number"),
        ({"share": 10**400}, "share: expected a number"),
        ({"loud": 1}, "loud: expected true or false, got 1"),
        ({"loud": "yes"}, "loud: expected true or false"),
        ({"word": 3}, 'word: expected a text, got 3; write "3"'),
        ({"way": "frist"}, "way: expected one of first, end, 3, got the text 'frist'"),
        ({"perhaps": 1.5}, "perhaps: expected a whole number or null"),
        ({"count": None}, "count: expected a whole number, got nothing"),
        ({"sizes": 3}, "write [3]"),
        ({"sizes": [1, "a"]}, "sizes: expected a whole number, got the text 'a'"),
        ({"pair": [1]}, "pair: expected a list [a whole number, a text]"),
    ],
)
def test_a_wrong_parameter_is_refused_in_words(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(AdvbenchError) as caught:
        configure(Everything(), params, "--attack")
    assert str(caught.value).startswith("--attack: ")
    assert problem in str(caught.value)


def test_every_wrong_parameter_is_told_at_once() -> None:
    with pytest.raises(AdvbenchError) as caught:
        configure(Everything(), {"count": "x", "shar": 1}, "a.yaml:3:1")
    assert len(str(caught.value).splitlines()) == 2


def test_numbers_are_stored_in_one_type_so_that_keys_of_results_agree() -> None:
    assert repr(configure(Everything(), {"share": 1}).share) == "1.0"
    assert configure(Everything(), {"share": "8/255"}).share == 8 / 255
    assert configure(Everything(), {"share": "inf"}).share == math.inf
    assert configure(Everything(), {"mixed": "8/255"}).mixed == "8/255"


def test_what_a_constructor_refuses_is_passed_on_with_its_place() -> None:
    with pytest.raises(AdvbenchError, match=r"^a\.yaml:3:1: everything: count must be at least 0$"):
        configure(Everything(), {"count": -1}, "a.yaml:3:1")


@dataclass(frozen=True)
class Fragile(Parametric):
    name = "fragile"
    eps: float
    odd: Any = None
    box: dict[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        1 / self.eps


def test_a_plugin_that_breaks_when_it_is_made_is_named() -> None:
    with pytest.raises(PluginError, match="here: fragile can't be made with these parameters: ZeroDivisionError"):
        configure(Fragile, {"eps": 0}, "here")
    with pytest.raises(AdvbenchError, match="fragile needs eps: write fragile"):
        configure(Fragile, {}, "here")
    _, faults = check(Fragile, {"box": {"a": 1}})
    assert "set it from Python" in faults[0].problem
    assert check(Fragile, {"odd": [1]}) == ({"odd": [1]}, [])


def test_annotations_that_do_not_resolve_name_the_plugin() -> None:
    lost = dataclasses.make_dataclass("Lost", [("steps", "Nowhere", 3)], bases=(Parametric,), frozen=True)
    with pytest.raises(PluginError, match="Lost: its annotations can't be resolved"):
        check(lost, {"steps": 3})


def test_threats_are_found_by_name_and_checked() -> None:
    ball = core_threat("linf(eps=8/255)")
    assert (ball.name, ball.eps) == ("linf", 8 / 255)
    assert core_threat(ball.label) == ball
    with pytest.raises(AdvbenchError, match=r"unknown threat 'lnif' .*did you mean 'linf'"):
        core_threat("lnif(eps=1)")
    with pytest.raises(AdvbenchError, match="eps"):
        core_threat("linf(eps=-0.1)")


def test_hints_do_not_depend_on_case() -> None:
    assert did_you_mean("PGD", ["pgd", "fgsm"]) == "; did you mean 'pgd'?"
    assert did_you_mean("zzz", ["pgd"]) == ""
