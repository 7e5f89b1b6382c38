"""From what a suite says to plugins and checked values; every mistake is kept with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from advbench.errors import AdvbenchError, did_you_mean
from advbench.goal import GOALS
from advbench.parameters import Parametric
from advbench.plugin import Attack, Defense
from advbench.plugins.registry import check_chain
from advbench.plugins.spec import Call, SpecError, parse, parse_chain
from advbench.plugins.values import check, construct
from advbench.suite.document import Item, Place

if TYPE_CHECKING:
    from advbench.plugins.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Scalars:
    """The settings of a suite that are single values, with their defaults."""

    name: str = "suite"
    examples: int | None = None
    drawn: int | None = None
    seed: int = 0
    stop: Literal["first", "end"] = "first"
    fit: Literal["calibrate", "judge", "train"] = "calibrate"
    shard: int = 128
    budget: int | None = None
    timeout: float | None = None
    false_positive_rate: float = 0.05
    precision: Literal["float32", "bf16"] = "float32"


_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda v: v.strip() and v.isprintable(), "must be a printable text"),
    "examples": (lambda v: v is None or v >= 1, "must be at least 1"),
    "drawn": (lambda v: v is None or 0 <= v < 2**63, "must be a seed from 0 to 2^63 - 1"),
    "seed": (lambda v: 0 <= v < 2**63, "must be from 0 to 2^63 - 1"),
    "shard": (lambda v: v >= 1, "must be at least 1"),
    "budget": (lambda v: v is None or v >= 1, "must be at least 1"),
    "timeout": (lambda v: v is None or v > 0, "must be above 0"),
    "false_positive_rate": (lambda v: 0 < v < 1, "must lie between 0 and 1"),
}


@dataclass
class Resolution:
    """Looks names up and checks values; goes on after a mistake, so that all are told at once."""

    registry: Registry
    faults: list[tuple[Place, str]] = field(default_factory=list)
    misspelt: set[str] = field(default_factory=set)
    """Keys that an unknown one was probably meant to be."""

    def fault(self, place: Place, problem: str) -> None:
        self.faults.append((place, problem))

    def refuse(self) -> None:
        """Every mistake that was found, in the order of the file."""
        if self.faults:
            ordered = sorted(dict.fromkeys(self.faults), key=lambda one: (one[0].line, one[0].column))
            raise AdvbenchError("\n".join(f"{place}: {problem}" for place, problem in ordered))

    def setting(self, key: str, item: Item) -> dict[str, Any]:
        """The checked value by its key; empty when it is wrong."""
        values, faults = check(Scalars, {key: item.parameter})
        for fault in faults:
            self.fault(item.place, fault.problem if item.place.line else fault.problem.removeprefix(f"{key}: "))
        right, problem = _RANGES.get(key, (lambda _: True, ""))
        if values and not right(values[key]):
            title = f"{key}: " if item.place.line else ""  # an option or a path says its own name
            self.fault(item.place, f"{title}{problem}, not {item.parameter}")
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
        by_label: dict[str, T] = {}
        for one in items:
            value = read(one)
            if value is None:  # and the reason has been told
                continue
            if label(value) in by_label:
                self.fault(one.place, f"{key}: {label(value)!r} is listed twice")
            by_label.setdefault(label(value), value)
        return tuple(by_label.values())

    def entrant(self, kind: type[Any], word: str) -> Callable[[Item], Any]:
        """A reader of entrants of one kind."""

        def read(item: Item) -> Any:
            if isinstance(item.value, Parametric):
                if isinstance(item.value, kind):
                    return self.settle(item, item.value)
                self.fault(item.place, f"expected {_article(word)}, got {item.value.label}")
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
            text = f"class={item.value['class'].parameter}"
        text = re.sub(r"\s*=\s*", "=", (text or "").strip())
        if text in GOALS and text != "class=k":
            return text
        if re.fullmatch(r"class=[0-9]{1,9}", text):
            return f"class={int(text.removeprefix('class='))}"
        hint = did_you_mean(text, GOALS) if text else ""
        self.fault(item.place, f"unknown goal {text or item.parameter!r} (known: {', '.join(GOALS)}){hint}")
        return None

    def configured(self, item: Item, kind: str, word: str, extra: tuple[str, ...] = ()) -> Any:
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
            self.fault(
                item.place, f"expected {_article(word)}, as name or name(parameter=value), got {item.parameter!r}"
            )
        return None

    def resolved(
        self,
        item: Item,
        call: Call,
        inner: Mapping[str, Item],
        kind: str,
        word: str,
        extra: tuple[str, ...] = (),
    ) -> Any:
        """The configured entrant; `inner` are parameters that stand below the call."""
        places = {key: item.at(position) for key, position in call.positions.items()}
        for key, content in inner.items():
            if key in call.params:
                self.fault(content.key or content.place, f"{key!r} is given twice")
        params = {**call.params, **{key: content.parameter for key, content in inner.items()}}
        places |= {key: content.key or content.place for key, content in inner.items()}
        try:
            merged = Call(call.name, params)
            entry = self.registry.find(kind, merged)
            values, faults = check(entry, params)
            for fault in faults:
                near = did_you_mean(fault.key, extra) if fault.problem.startswith(f"{call.name} has no") else ""
                self.fault(
                    places.get(fault.key, item.place), f"unknown key {fault.key!r}{near}" if near else fault.problem
                )
            return None if faults else self.settle(item, construct(entry, values))
        except AdvbenchError as error:
            self.fault(item.place, str(error))
            return None

    def settle(self, item: Item, entrant: Any) -> Any:
        """With the attacks that it builds on; None where one of them is unknown."""
        try:
            return self.registry.settle(entrant) if isinstance(entrant, Attack) else entrant
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


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
