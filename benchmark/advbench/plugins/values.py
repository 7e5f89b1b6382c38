"""Values held against the fields of a dataclass: the one check, whoever gave them."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from advbench.errors import AdvbenchError, PluginError, did_you_mean, one_line, words
from advbench.parameters import Parametric, hashable, spelling, written
from advbench.plugins.foreign import no_exit
from advbench.plugins.spec import parse, parse_value

if TYPE_CHECKING:
    from advbench.threats import Threat

P = TypeVar("P", bound=Parametric)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one parameter."""

    key: str
    problem: str


def check(owner: object, params: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Values for the fields of a dataclass (or of its instance), and everything that is wrong with the rest."""
    kind = owner if isinstance(owner, type) else type(owner)
    rest = getattr(kind, "further", "")
    known = {spelling(f): f for f in dataclasses.fields(typing.cast(Any, kind)) if f.init and f.name != rest}
    name = getattr(kind, "name", None)
    title = name if isinstance(name, str) else kind.__name__.lower()
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for key, value in params.items():
        if key not in known and rest:  # it knows by itself which it takes
            others = {**dict(values.get(rest, ())), key: hashable(value)}
            values[rest] = tuple(sorted(others.items()))
            continue
        if key not in known:
            takes = f"known: {', '.join(known)}" if known else "it has none"
            faults.append(Fault(key, f"{title} has no parameter {key!r} ({takes}){did_you_mean(key, known)}"))
            continue
        try:
            values[known[key].name] = _conform(_annotation(kind, known[key]), value)
        except _MismatchError as error:
            faults.append(Fault(key, f"{key}: {error}"))
    return values, faults


def configure(entry: P | type[P], params: Mapping[str, Any], where: str = "") -> P:
    """The entry with other parameters; an AdvbenchError names everything that is wrong, after `where`."""
    values, faults = check(entry, params)
    if faults:
        raise AdvbenchError("\n".join(_message(where, fault.problem) for fault in faults))
    return construct(entry, values, where)


def construct(entry: P | type[P], values: Mapping[str, Any], where: str = "") -> P:
    """The entry with checked values; what its constructor refuses is passed on."""
    kind = entry if isinstance(entry, type) else type(entry)
    given = {f.name for f in dataclasses.fields(kind)} if not isinstance(entry, type) else set(values)
    missing = [
        spelling(f)
        for f in dataclasses.fields(kind)
        if f.init
        and f.name not in given
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        example = ", ".join(f"{key}=…" for key in missing)
        raise AdvbenchError(_message(where, f"{kind.name} needs {' and '.join(missing)}: write {kind.name}({example})"))
    try:
        with no_exit(kind.name):
            return entry(**values) if isinstance(entry, type) else dataclasses.replace(entry, **values)
    except AdvbenchError as error:
        raise AdvbenchError(_message(where, str(error))) from error
    except Exception as error:
        refusal = f"{kind.name} can't be made with these parameters: {one_line(error)}"
        raise PluginError(_message(where, refusal)) from error


def core_threat(text: str) -> Threat:
    """One of the core's balls as a text describes it, for those who have no registry: `linf(eps=8/255)`."""
    call = parse(text)
    return configure(core_threat_type(call.name), call.params)


def core_threat_type(name: str) -> type[Threat]:
    """The class of the core's ball of that name."""
    from advbench.threats import advbench_threats  # a threat may itself read this language

    known = {ball.name: type(ball) for ball in advbench_threats()}
    if name not in known:
        raise AdvbenchError(f"unknown threat {name!r} (known: {', '.join(known)}){did_you_mean(name, known)}")
    return known[name]


def _message(where: str, problem: str) -> str:
    return f"{where}: {problem}" if where else problem


class _MismatchError(Exception):
    """Raised inside for a value that a parameter's type does not admit; told as a `Fault`."""


@cache
def _type_hints(kind: type) -> dict[str, Any]:
    """Read once: whoever checks a database asks for them with every row."""
    return typing.get_type_hints(kind)


def _annotation(kind: type, parameter: dataclasses.Field[Any]) -> Any:
    """The field's type, also where annotations are strings."""
    if not isinstance(parameter.type, str):
        return parameter.type
    try:
        with no_exit(kind.__qualname__):
            return _type_hints(kind)[parameter.name]
    except Exception as error:  # an annotation may run any code
        raise PluginError(
            f"{kind.__module__}.{kind.__qualname__}: its annotations can't be resolved ({words(error)}); "
            "import at run time what they name"
        ) from error


def _conform(annotation: Any, value: Any) -> Any:
    """The value as the annotation wants it, or a _MismatchError."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin is Literal:
        for choice in arguments:
            if type(choice) is type(value) and choice == value:
                return value
    elif origin is Union or origin is types.UnionType:
        return _conform_union(annotation, value)
    elif annotation in (tuple, list) or origin in (tuple, list):
        return _conform_list(annotation, value)
    elif annotation is float:
        return _conform_float(value)
    elif annotation in (int, bool, str, type(None)):
        if type(value) is (type(None) if annotation is None else annotation):
            return value
    elif annotation is None:
        if value is None:
            return None
    else:
        raise _MismatchError(f"its type {annotation!r} can't be written as text; set it from Python")
    raise _MismatchError(_complaint(annotation, value))


def _conform_float(value: Any) -> float:
    if isinstance(value, str):  # JSON can't write an infinity, nor YAML a fraction
        read = parse_value(value)
        if isinstance(read, float) and ("/" in value or math.isinf(read)):
            return read
    if type(value) is int or (type(value) is float and not math.isnan(value)):
        try:
            return float(value) + 0.0  # no negative zero, which is equal and yet another key
        except OverflowError:
            pass
    raise _MismatchError(_complaint(float, value))


def _conform_union(annotation: Any, value: Any) -> Any:
    """The member that keeps the value as it is, else the first that takes it."""
    taken = []
    for member in typing.get_args(annotation):
        try:
            taken.append(_conform(member, value))
        except _MismatchError:
            continue
    if not taken:
        raise _MismatchError(_complaint(annotation, value))
    return next((item for item in taken if type(item) is type(value) and item == value), taken[0])


def _conform_list(annotation: Any, value: Any) -> Any:
    container = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if not isinstance(value, list | tuple):
        raise _MismatchError(_complaint(annotation, value))
    if container is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _MismatchError(_complaint(annotation, value))
        return tuple(_conform(member, item) for member, item in zip(arguments, value, strict=True))
    member = arguments[0] if arguments else Any
    return container(_conform(member, item) for item in value)


def _complaint(annotation: Any, value: Any) -> str:
    shown = f"the text {value!r}" if isinstance(value, str) else "nothing" if value is None else written(value)
    if isinstance(value, float):
        shown = repr(value)  # 200.0, which `written` would call 200
    hint = ""
    if isinstance(value, str):
        read = parse_value(value)
        if not isinstance(read, str) and _takes(annotation, read):
            hint = "; leave out the quotes"
    elif isinstance(value, float) and _takes(annotation, 1) and math.isfinite(value) and value == int(value):
        hint = f"; write {int(value)}"
    elif _takes(annotation, "") and not isinstance(value, list | tuple | None):
        hint = f'; write "{written(value)}" if it is a text'
    elif not isinstance(value, list | tuple) and _takes(annotation, [value]):
        hint = f"; write [{written(value)}]"
    return f"expected {_description(annotation)}, got {shown[:80]}{hint}"


def _takes(annotation: Any, value: Any) -> bool:
    """Whether the value would do, for a hint in a message; shallow, so that it never calls `_complaint` back."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Union or origin is types.UnionType:
        return any(_takes(member, value) for member in arguments)
    if origin in (tuple, list) and isinstance(value, list):
        return len(arguments) in (1, len(value)) or arguments[-1] is Ellipsis
    if annotation is float:
        return type(value) in (int, float)
    return type(value) is annotation


def _description(annotation: Any) -> str:
    """What a field takes, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "one of " * (len(arguments) > 1) + ", ".join(written(choice) for choice in arguments)
    if origin is Union or origin is types.UnionType:
        return " or ".join(_description(member) for member in arguments)
    if annotation in (tuple, list) or origin in (tuple, list):
        if not arguments:
            return "a list"
        if origin is list or arguments[-1] is Ellipsis:
            return f"a list (of {_description(arguments[0])} each)"
        return f"a list [{', '.join(_description(member) for member in arguments)}]"
    number = "a number (0.3, 8e-3, 8/255, inf)"
    words = {int: "a whole number", float: number, bool: "true or false", str: "a text", Any: "anything"}
    return words.get(annotation, "null")
