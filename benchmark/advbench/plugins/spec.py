"""The little language `name(parameter=value, …)`."""

from __future__ import annotations

import difflib
import json
import math
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from advbench.errors import AdvbenchError
from advbench.parameters import written

_NUMERAL = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(rf"({_NUMERAL})(?:/({_NUMERAL}))?(?![\w./\\~:@%-])", re.ASCII)
_WORD = re.compile(r"[\w./\\~:@%-]+")
_PATH = re.compile(r"[\w./\\~:@%+-]+")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_KEY = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_CONSTANTS = {"true": True, "false": False, "null": None, "inf": math.inf, "-inf": -math.inf}
_DEEPEST = 32
_LONGEST = 10_000


class SpecError(AdvbenchError):
    """A text that can't be read: what is wrong, and at which character."""

    def __init__(self, problem: str, text: str, position: int) -> None:
        super().__init__(problem, text, position)
        self.problem, self.text, self.position = problem, text, position

    def __str__(self) -> str:
        start = max(0, self.position - 60)
        shown = "".join(c if c.isprintable() else " " for c in self.text[start : self.position + 40])
        return f"{self.problem}\n  {shown}\n  {' ' * (self.position - start)}^"


@dataclass(frozen=True)
class Call:
    """A name and its parameters; a nested call stays the text that it is."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """Where in the text each parameter stands."""

    @property
    def label(self) -> str:
        """The call with canonical spacing, to be compared with `Parametric.label`."""
        inner = ", ".join(f"{key}={written(value)}" for key, value in self.params.items())
        return f"{self.name}({inner})" if inner else self.name


def parse(text: str) -> Call:
    """Read one `name(parameter=value, …)`."""
    reader = _Reader(text)
    call, _ = reader.call()
    reader.end()
    return call


def parse_chain(text: str) -> list[Call]:
    """Read `a+b(parameter=value)`: calls joined by `+`."""
    reader = _Reader(text)
    calls = [reader.call()[0]]
    while reader.skip("+"):
        calls.append(reader.call()[0])
    reader.end()
    return calls


def parse_value(text: str) -> Any:
    """Read what may stand after `parameter=`; a text that is no such thing is itself."""
    try:
        reader = _Reader(text)
        value, _ = reader.value()
        reader.end()
    except SpecError:
        return text
    return value


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'steps'?` when something known is near, else nothing."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


class _Reader:
    """Reads from left to right; every method returns what it read, and mostly also its canonical text."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise SpecError(f"longer than {_LONGEST} characters", text[:40], 0)
        self.text, self.position, self.depth = text, 0, 0

    def fail(self, problem: str, position: int | None = None) -> typing.NoReturn:
        raise SpecError(problem, self.text, self.position if position is None else position)

    def blank(self) -> None:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1

    def skip(self, mark: str) -> bool:
        self.blank()
        there = self.text.startswith(mark, self.position)
        self.position += len(mark) if there else 0
        return there

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self.blank()
        match = pattern.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return match

    def unexpected(self, wanted: str) -> typing.NoReturn:
        self.blank()
        rest = self.text[self.position :]
        self.fail(f"expected {wanted}, found {rest[0]!r}" if rest else f"expected {wanted}, found the end")

    def end(self) -> None:
        self.blank()
        if self.text.startswith("+", self.position):
            self.fail("only defenses are joined with '+'")
        if self.position < len(self.text):
            self.fail(f"{self.text[self.position]!r} is not expected after the end of the call")

    def call(self) -> tuple[Call, str]:
        self.blank()
        start = self.position
        word = self.match(_WORD)
        if not word:
            self.unexpected("a name")
        name = word.group()
        if not _NAME.fullmatch(name):
            self.fail(f"{name!r} is not a name: letters, digits, '-' and '.' make one", start)
        params: dict[str, Any] = {}
        positions: dict[str, int] = {}
        texts: list[str] = []
        if self.skip("("):
            self.deeper()
            while not self.skip(")"):
                key, value, text, position = self.pair(name)
                if key in params:
                    self.fail(f"{key!r} is given twice", position)
                params[key], positions[key] = value, position
                texts.append(text)
                if not self.skip(","):
                    if self.skip(")"):
                        break
                    self.unexpected("',' or ')'")
            self.depth -= 1
        return Call(name, params, positions), f"{name}({', '.join(texts)})" if texts else name

    def pair(self, name: str) -> tuple[str, Any, str, int]:
        self.blank()
        start = self.position
        key = self.match(_KEY)
        if not key or not self.skip("="):
            self.position = start
            if start == len(self.text):
                self.unexpected("')'")
            _, text = self.value()  # a broken value has an error of its own
            self.fail(f"a value without a parameter's name; write {name}(parameter={text})", start)
        value, text = self.value()
        return key.group(), value, f"{key.group()}={text}", start

    def value(self) -> tuple[Any, str]:
        self.blank()
        start = self.position
        if self.text.startswith(('"', "'"), start):
            string = self.quoted()
            return string, written(string)
        if self.skip("["):
            return self.listed()
        if number := self.match(_NUMBER):
            return self.number(number), number.group()
        word = self.match(_WORD)
        if not word:
            self.unexpected("a value")
        if self.text.startswith("+", self.position) and not _NAME.fullmatch(word.group()):
            self.position = start  # no chain begins so, but a path may hold a plus: weights/a+b.safetensors
            word = self.match(_PATH)
            assert word
        joined = self.text.startswith(("(", "+"), self.position)
        if not joined:
            return _CONSTANTS.get(word.group(), word.group()), word.group()
        self.position = start
        texts = [self.call()[1]]
        while self.skip("+"):
            texts.append(self.call()[1])
        return "+".join(texts), "+".join(texts)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail(f"nested deeper than {_DEEPEST}")

    def listed(self) -> tuple[list[Any], str]:
        self.deeper()
        values: list[Any] = []
        texts: list[str] = []
        while not self.skip("]"):
            value, text = self.value()
            values.append(value)
            texts.append(text)
            if not self.skip(","):
                if self.skip("]"):
                    break
                self.unexpected("',' or ']'")
        self.depth -= 1
        return values, f"[{', '.join(texts)}]"

    def number(self, match: re.Match[str]) -> int | float:
        above, below = match.groups()
        try:
            if below is None and re.fullmatch(r"[-+]?\d+", above):
                return int(above)
            value = float(above) / (1.0 if below is None else float(below))
        except ZeroDivisionError:
            self.fail(f"{match.group()} divides by zero", match.start())
        except ValueError:  # Python refuses integers of thousands of digits
            value = math.inf
        if not math.isfinite(value):
            self.fail(f"{match.group()[:20]} is too large a number; infinity is written inf", match.start())
        return value

    def quoted(self) -> str:
        start = self.position
        if self.text[start] == "'":
            match = self.match(re.compile(r"'((?:[^']|'')*)'"))
            if not match:
                self.fail("this quote is never closed", start)
            return match.group(1).replace("''", "'")
        try:
            value, self.position = json.JSONDecoder(strict=False).raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            closed = "Unterminated" not in error.msg
            escape = "not an escape: write \\\\ for a backslash, or single quotes"
            self.fail(escape if closed else "this quote is never closed", start)
        return str(value)
