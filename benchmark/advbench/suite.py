"""A suite: which data, threats, models, defenses and attacks meet; read with the place of every mistake."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from advbench.document import Item, Place, compose, from_option, from_python
from advbench.errors import AdvbenchError
from advbench.goal import GOALS, class_of
from advbench.parameters import Parametric
from advbench.plugin import Attack, Dataset, Defense, Model
from advbench.registry import check_chain
from advbench.spec import (
    Call,
    SpecError,
    check,
    construct,
    did_you_mean,
    parse,
    parse_chain,
    threat_type,
)
from advbench.threats.threat import Threat

if TYPE_CHECKING:
    from advbench.registry import Registry

T = TypeVar("T")

_LARGEST_FILE = 1_000_000


@dataclass(frozen=True)
class Board:
    """A data set and a threat, and what is judged there."""

    dataset: Dataset
    threat: Threat
    examples: int | None
    attacks: tuple[Attack, ...]
    goals: tuple[str, ...]
    required: tuple[str, ...]
    """Labels of the attacks whose pointwise worst case is the robust accuracy."""

    @property
    def name(self) -> str:
        return f"{self.dataset.label}/{self.threat.name}/{self.threat.radius}"


@dataclass(frozen=True)
class Suite:
    """Everything that a run needs to know, checked and resolved."""

    name: str
    seed: int
    stop: Literal["first", "end"]
    shard: int
    budget: int | None
    timeout: float | None
    false_positive_rate: float
    models: tuple[Model, ...]
    defenses: tuple[tuple[Defense, ...], ...]
    boards: tuple[Board, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """The suite as a mapping that JSON can hold and `suite_from_mapping` reads back."""
        plain = {key: getattr(self, key) for key in ("name", "seed", "stop", "shard", "budget", "timeout")}
        threats = [
            {
                board.threat.label: {
                    "data": [board.dataset.label],
                    "examples": board.examples,
                    "attacks": [attack.label for attack in board.attacks],
                    "goals": list(board.goals),
                    "required": list(board.required),
                }
            }
            for board in self.boards
        ]
        return {
            **plain,
            "false_positive_rate": self.false_positive_rate,
            "models": [model.label for model in self.models],
            "defenses": [_chain_label(chain) for chain in self.defenses],
            "threats": threats,
        }


@dataclass(frozen=True)
class Overrides:
    """What the command line puts in the place of the suite's own settings; lists replace lists."""

    examples: int | None = None
    seed: int | None = None
    stop: str | None = None
    shard: int | None = None
    budget: int | None = None
    timeout: float | None = None
    data: list[str] | None = None
    models: list[str] | None = None
    defenses: list[str] | None = None
    attacks: list[str] | None = None
    goals: list[str] | None = None
    threats: list[str] | None = None

    def items(self) -> dict[str, Item]:
        options = {"data": "--dataset", "models": "--model", "defenses": "--defense", "attacks": "--attack"}
        options |= {"goals": "--goal", "threats": "--threat"}
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) is not None}
        return {key: from_option(value, options.get(key, f"--{key}")) for key, value in given.items()}


@dataclass(frozen=True)
class _Settings:
    """What a suite may say besides its lists."""

    name: str = "suite"
    examples: int | None = None
    seed: int = 0
    stop: Literal["first", "end"] = "first"
    shard: int = 100
    budget: int | None = None
    timeout: float | None = None
    false_positive_rate: float = 0.05


_LISTS = ("data", "models", "defenses", "attacks", "goals", "threats")
_KEYS = (*(f.name for f in dataclasses.fields(_Settings)), *_LISTS)
_BOARD_KEYS = ("data", "examples", "attacks", "goals", "required")
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda v: v.strip() and v.isprintable(), "must be a printable text"),
    "examples": (lambda v: v is None or v >= 1, "must be at least 1"),
    "seed": (lambda v: 0 <= v < 2**63, "must be from 0 to 2^63 - 1"),
    "shard": (lambda v: v >= 1, "must be at least 1"),
    "budget": (lambda v: v is None or v >= 1, "must be at least 1"),
    "timeout": (lambda v: v is None or v > 0, "must be above 0"),
    "false_positive_rate": (lambda v: 0 < v < 1, "must lie between 0 and 1"),
}


def load_suite(path_or_name: str | Path, registry: Registry, overrides: Overrides | None = None) -> Suite:
    """Read a suite from a file, or an embedded one by its name."""
    text, source, name = _read(path_or_name)
    resolution = _Resolution(registry)
    root = compose(text, source, resolution.fault)
    return resolution.suite(root, name, overrides or Overrides())


def suite_from_mapping(
    mapping: Mapping[str, Any], registry: Registry, overrides: Overrides | None = None, name: str = "suite"
) -> Suite:
    """The same from Python; models, defenses, attacks, threats and data may also be instances."""
    return _Resolution(registry).suite(from_python(mapping, ""), name, overrides or Overrides())


def embedded_suites() -> list[str]:
    """Names of the suites that come with advbench."""
    folder = files("advbench") / "suites"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(path_or_name: str | Path) -> tuple[str, str, str]:
    """The text of a suite, how to call it in errors, and its default name."""
    given = str(path_or_name)
    path = Path(given).expanduser()
    if given in embedded_suites():
        content, name = (files("advbench") / "suites" / f"{given}.yaml").read_bytes(), given
    elif not path.exists():
        embedded = embedded_suites()
        raise AdvbenchError(
            f"no suite {given!r}: there is no such file, and the embedded suites are {', '.join(embedded)}"
            f"{did_you_mean(given, embedded)}"
        )
    else:
        try:
            with path.open("rb") as file:
                content, name = file.read(_LARGEST_FILE + 1), path.stem
        except OSError as error:
            problem = "a folder; name a suite file in it" if path.is_dir() else f"{error.strerror or error}"
            raise AdvbenchError(f"suite {given}: {problem}") from error
    if len(content) > _LARGEST_FILE:
        raise AdvbenchError(f"suite {given}: larger than {_LARGEST_FILE // 1_000_000} MB; is it a suite?")
    try:
        return content.decode("utf-8-sig"), given, name
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise AdvbenchError(f"{given}:{line}: not UTF-8 text; save the suite as UTF-8") from error


@dataclass(frozen=True)
class _Ball:
    """A threat of the suite, and what is said about its boards alone."""

    threat: Threat
    options: dict[str, Item]
    place: Place


@dataclass(frozen=True)
class _Options:
    """The same, resolved; empty where nothing is said."""

    data: tuple[Dataset, ...]
    attacks: tuple[Attack, ...]
    goals: tuple[str, ...]
    examples: dict[str, Any]


@dataclass
class _Resolution:
    """Looks names up and checks values; goes on after a mistake, so that all are told at once."""

    registry: Registry
    faults: list[tuple[Place, str]] = field(default_factory=list)
    misspelt: set[str] = field(default_factory=set)
    """Keys that an unknown one was probably meant to be."""

    def fault(self, place: Place, problem: str) -> None:
        self.faults.append((place, problem))

    def suite(self, root: Item, name: str, overrides: Overrides) -> Suite:
        given = overrides.items()
        top = self.top(root)
        if not isinstance(root.value, dict):
            self.refuse()
        said = {**top, **given}
        settings = self.settings(said, name)
        models = self.several(said.get("models"), "models", self.entrant(Model, "model"), root.place)
        defenses = self.several(said.get("defenses"), "defenses", self.chain, None, _chain_label)
        boards = self.boards(said, top.get("threats"), settings.examples, given, root.place)
        self.refuse()
        plain = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name != "examples"}
        return Suite(**plain, models=models, defenses=defenses or (self.registry.defense("none"),), boards=boards)

    def refuse(self) -> None:
        """Every mistake that was found, in the order of the file."""
        if self.faults:
            ordered = sorted(dict.fromkeys(self.faults), key=lambda one: (one[0].line, one[0].column))
            raise AdvbenchError("\n".join(f"{place}: {problem}" for place, problem in ordered))

    def top(self, root: Item) -> dict[str, Item]:
        if not isinstance(root.value, dict):
            self.fault(root.place, f"a suite is a mapping with the keys {', '.join(_KEYS)}")
            return {}
        for key, item in root.value.items():
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, 1)
                self.misspelt.update(near)
                hint = did_you_mean(key, _KEYS) or f" (known: {', '.join(_KEYS)})"
                self.fault(item.key or item.place, f"unknown key {key!r}{hint}")
        return {key: item for key, item in root.value.items() if key in _KEYS}

    def settings(self, said: Mapping[str, Item], name: str) -> _Settings:
        values = {"name": name}
        for f in dataclasses.fields(_Settings):
            if f.name in said:
                values |= self.setting(f.name, said[f.name])
        return _Settings(**values)  # type: ignore[arg-type]  # checked one by one

    def setting(self, key: str, item: Item) -> dict[str, Any]:
        """The checked value by its key; empty when it is wrong."""
        values, faults = check(_Settings, {key: item.plain})
        for fault in faults:
            self.fault(item.place, fault.problem if item.place.line else fault.problem.removeprefix(f"{key}: "))
        right, problem = _RANGES.get(key, (lambda _: True, ""))
        if values and not right(values[key]):
            title = f"{key}: " if item.place.line else ""  # an option or a path says its own name
            self.fault(item.place, f"{title}{problem}, not {item.plain}")
            return {}
        return values

    def several(
        self,
        item: Item | None,
        key: str,
        read: Callable[[Item], T | None],
        needed_at: Place | None,
        label: Callable[[T], str] = lambda one: str(getattr(one, "label", one)),
    ) -> tuple[T, ...]:
        """What a list holds, each once; a single one may stand without its list."""
        if item is None:
            if needed_at and key not in self.misspelt:  # else that is told already
                self.fault(needed_at, f"{key!r} is missing: name at least one")
            return ()
        items = item.value if isinstance(item.value, list) else [item]
        if item.value is None or not items:
            self.fault(item.key or item.place, f"{key}: empty; name at least one")
            return ()
        found: dict[str, T] = {}
        for one in items:
            value = read(one)
            if value is None:  # and the reason has been told
                continue
            if label(value) in found:
                self.fault(one.place, f"{key}: {label(value)!r} is listed twice")
            found.setdefault(label(value), value)
        return tuple(found.values())

    def boards(
        self,
        said: Mapping[str, Item],
        written: Item | None,
        examples: int | None,
        given: Mapping[str, Item],
        root: Place,
    ) -> tuple[Board, ...]:
        """A board for every data set and threat."""
        replacing = {key: key for key in _BOARD_KEYS} | {"required": "attacks"}
        balls = [
            dataclasses.replace(ball, options={k: v for k, v in ball.options.items() if replacing[k] not in given})
            for ball in self.balls(said.get("threats"), written, "threats" in given, root)
        ]
        needed = {key: None if balls and all(key in b.options for b in balls) else root for key in ("data", "attacks")}
        data = self.several(said.get("data"), "data", self.entrant(Dataset, "data set"), needed["data"])
        attacks = self.several(said.get("attacks"), "attacks", self.entrant(Attack, "attack"), needed["attacks"])
        goals = self.several(said.get("goals"), "goals", self.goal, None)
        found: dict[str, Board] = {}
        for ball in balls:
            own = self.options(ball.options)
            required = self.required(ball.options.get("required"), own.attacks or attacks)
            for dataset in own.data or data:
                board = Board(
                    dataset,
                    ball.threat,
                    own.examples.get("examples", examples),
                    own.attacks or attacks,
                    own.goals or goals or ("untargeted",),
                    required,
                )
                self.classes(board, ball.options.get("goals") or said.get("goals"))
                if board.name in found:
                    self.fault(ball.place, f"threats: the board {board.name} is listed twice")
                found.setdefault(board.name, board)
        return tuple(found.values())

    def balls(self, item: Item | None, written: Item | None, replaced: bool, root: Place) -> list[_Ball]:
        """The suite's threats; one from the command line keeps what the file says about its family."""
        balls: list[_Ball] = []

        def read(one: Item) -> Threat | None:
            ball = self.ball(one)
            balls.extend([ball] if ball else [])
            return None  # boards tell what is listed twice

        self.several(item, "threats", read, root)
        if not replaced or written is None:
            return balls
        silent = _Resolution(self.registry)  # what the file says of other threats no longer matters
        kept = silent.balls(written, None, False, root)
        return [one for ball in balls for one in self.kin(ball, kept)]

    def kin(self, ball: _Ball, kept: list[_Ball]) -> list[_Ball]:
        """The ball with what the file says of the same threat, else of its family; once for every `data` there."""
        same = [one for one in kept if one.threat == ball.threat]
        same += [one for one in kept if one.threat.family == ball.threat.family and one.options]
        by_data: dict[str, _Ball] = {}
        for one in same:
            data = repr(one.options["data"].plain) if "data" in one.options else ""
            by_data.setdefault(data, dataclasses.replace(ball, options=one.options))
        return list(by_data.values()) or [ball]

    def ball(self, item: Item) -> _Ball | None:
        inner: dict[str, Item] = {}
        if isinstance(item.value, dict) and len(item.value) == 1:
            ((key, content),) = item.value.items()
            if isinstance(content.value, dict):
                inner = {k: v for k, v in content.value.items() if k in _BOARD_KEYS}
                params = {k: v for k, v in content.value.items() if k not in _BOARD_KEYS}
                item = dataclasses.replace(item, value={key: dataclasses.replace(content, value=params)})
        if isinstance(item.value, Threat):
            return _Ball(item.value, inner, item.place)
        threat: Threat | None = self.configured(item, threat_type, "threat", extra=_BOARD_KEYS)
        if threat is not None and not threat.eps >= 0:  # a ball may have forgotten to look
            self.fault(item.place, f"{threat.name}: eps must be at least 0")
            threat = None
        if threat is None:
            self.options(inner)  # its mistakes are told all the same
            return None
        return _Ball(threat, inner, item.place)

    def options(self, inner: Mapping[str, Item]) -> _Options:
        """What a threat's own keys say."""
        return _Options(
            data=self.several(inner.get("data"), "data", self.entrant(Dataset, "data set"), None),
            attacks=self.several(inner.get("attacks"), "attacks", self.entrant(Attack, "attack"), None),
            goals=self.several(inner.get("goals"), "goals", self.goal, None),
            examples=self.setting("examples", inner["examples"]) if "examples" in inner else {},
        )

    def entrant(self, kind: type[Any], word: str) -> Callable[[Item], Any]:
        """A reader of entrants of one kind."""

        def read(item: Item) -> Any:
            if isinstance(item.value, Parametric):
                if isinstance(item.value, kind):
                    return item.value
                self.fault(item.place, f"expected {_one(word)}, got {item.value.label}")
                return None
            return self.configured(item, word, word)

        return read

    def chain(self, item: Item) -> tuple[Defense, ...] | None:
        """Defenses one behind the other: `a+b`, or a list inside the list."""
        read = self.entrant(Defense, "defense")
        if isinstance(item.value, list):
            parts = [read(one) for one in item.value]
        elif item.text is not None:
            calls = self.read(item, parse_chain) or []
            parts = [self.resolved(item, call, {}, "defense", "defense") for call in calls]
        else:
            parts = [read(item)]
        chain = tuple(part for part in parts if part is not None)
        if not chain or len(chain) < len(parts):
            if not parts and item.text is None:
                self.fault(item.place, "defenses: empty; write none for no defense")
            return None
        try:
            check_chain(chain)
        except AdvbenchError as error:
            self.fault(item.place, str(error))
            return None
        return chain

    def goal(self, item: Item) -> str | None:
        text = item.text
        if isinstance(item.value, dict) and list(item.value) == ["class"]:
            text = f"class={item.value['class'].plain}"
        text = re.sub(r"\s*=\s*", "=", (text or "").strip())
        if text in GOALS and text != "class=k":
            return text
        if re.fullmatch(r"class=[0-9]{1,9}", text):
            return f"class={int(text.removeprefix('class='))}"
        hint = did_you_mean(text, GOALS) if text else ""
        self.fault(item.place, f"unknown goal {text or item.plain!r} (known: {', '.join(GOALS)}){hint}")
        return None

    def classes(self, board: Board, item: Item | None) -> None:
        for goal in board.goals:
            if goal.startswith("class=") and item is not None:
                try:
                    class_of(goal, board.dataset.classes)
                except AdvbenchError as error:
                    self.fault(item.place, f"{error} ({board.dataset.label})")

    def required(self, item: Item | None, attacks: Iterable[Attack]) -> tuple[str, ...]:
        labels = [attack.label for attack in attacks]
        if item is None:
            return tuple(labels)
        known = {attack.label: attack.name for attack in attacks}
        read = self.entrant(Attack, "attack")

        def on_board(one: Item) -> str | None:
            attack = read(one)
            if attack is None or attack.label in known:
                return attack.label if attack else None
            near = [label for label, name in known.items() if name == attack.name]
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.fault(one.place, f"required: {attack.label!r} is not among the board's attacks {labels}{hint}")
            return None

        return self.several(item, "required", on_board, None)

    def configured(
        self, item: Item, kind: str | Callable[[str], type[Threat]], word: str, extra: tuple[str, ...] = ()
    ) -> Any:
        """What `name(parameter=value)` or `{name: {parameter: value}}` stands for; None when it is wrong."""
        if item.text is not None:
            call = self.read(item, parse)
            return call and self.resolved(item, call, {}, kind, word, extra)
        if isinstance(item.value, dict) and len(item.value) == 1:
            ((name, content),) = item.value.items()
            key = Item(name, content.key or item.place, name)
            call = self.read(key, parse)
            if call is None:
                return None
            if content.value is not None and not isinstance(content.value, dict):
                self.fault(content.place, f"{name}: expected parameters, as in {{{name}: {{parameter: value}}}}")
                return None
            return self.resolved(key, call, content.value or {}, kind, word, extra)
        if isinstance(item.value, dict) and len(item.value) > 1:
            self.fault(item.place, f"expected one {word}, got several keys; start each {word} with '- '")
        else:
            self.fault(item.place, f"expected {_one(word)}, as name or name(parameter=value), got {item.plain!r}")
        return None

    def resolved(
        self,
        item: Item,
        call: Call,
        inner: Mapping[str, Item],
        kind: str | Callable[[str], type[Threat]],
        word: str,
        extra: tuple[str, ...] = (),
    ) -> Any:
        """The configured entrant; `inner` are parameters that stand below the call."""
        places = {key: item.at(position) for key, position in call.positions.items()}
        for key, content in inner.items():
            if key in call.params:
                self.fault(content.key or content.place, f"{key!r} is given twice")
        params = {**call.params, **{key: content.plain for key, content in inner.items()}}
        places |= {key: content.key or content.place for key, content in inner.items()}
        try:
            merged = Call(call.name, params)
            entry: Any = self.registry.find(kind, merged) if isinstance(kind, str) else kind(call.name)
            values, faults = check(entry, params)
            for fault in faults:
                near = did_you_mean(fault.key, extra) if fault.problem.startswith(f"{call.name} has no") else ""
                self.fault(
                    places.get(fault.key, item.place), f"unknown key {fault.key!r}{near}" if near else fault.problem
                )
            return None if faults else construct(entry, values)
        except AdvbenchError as error:
            self.fault(item.place, str(error))
            return None

    def read(self, item: Item, reader: Callable[[str], T]) -> T | None:
        try:
            return reader(item.text or "")
        except SpecError as error:
            hint = ""
            if item.flow and (item.text or "").count("(") != (item.text or "").count(")"):
                hint = (
                    "; inside [ ] YAML splits at commas: put quotes round the whole call, or give it a line of its own"
                )
            self.fault(item.at(error.position), f"{error.problem}{hint}")
            return None


def _chain_label(chain: tuple[Defense, ...]) -> str:
    return "+".join(defense.label for defense in chain)


def _one(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
