"""Arguments of other people's classes, held against their signatures."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union

from advbench import AdvbenchError, did_you_mean

PLAIN = (bool, int, float, str, type(None))


def is_plain(value: object) -> bool:
    """Whether it can be written as text: a number, a text, a truth, or a list of such."""
    return all(map(is_plain, value)) if isinstance(value, tuple) else type(value) in PLAIN


def checked(
    title: str, kind: type, arguments: Mapping[str, Any], ours: Mapping[str, str], own: tuple[str, ...]
) -> dict[str, Any]:
    """The arguments as the class takes them; `ours` are those that advbench gives, each with what it is.

    `own` are parameters of the entrant itself, for a hint at what may have been meant.
    """
    takes = parameters(kind)
    values = {}
    for key, value in arguments.items():
        if key in ours and key in takes:
            raise AdvbenchError(f"{title}: {key} is not given, it is {ours[key]}")
        free = [name for name in takes if name not in ours]
        if key not in free:
            known = f"it takes {', '.join(free)}" if free else "it takes none"
            hint = did_you_mean(key, [*free, *own])
            raise AdvbenchError(f"{title} has no argument {key!r} ({known}){hint}")
        values[key] = _conform(title, key, takes[key], value)
    missing = [
        name
        for name, parameter in takes.items()
        if parameter.default is parameter.empty and name not in values and name not in ours
    ]
    if missing:
        raise AdvbenchError(f"{title} needs {' and '.join(missing)}: write {', '.join(f'{key}=…' for key in missing)}")
    return values


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    """What its constructor takes by name; a class that lays down no names takes nothing."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = list(inspect.signature(kind).parameters.values())
    return {one.name: one for one in found if one.kind not in variadic}


def _conform(title: str, key: str, parameter: inspect.Parameter, value: Any) -> Any:
    kinds = tuple(_kinds(parameter))
    for kind in kinds:
        if kind is Any or (typing.get_origin(kind) is Literal and value in typing.get_args(kind)):
            return value
        if kind is float and type(value) in (int, float):
            return float(value)
        if kind in (tuple, list) and isinstance(value, tuple):
            return value
        if kind in PLAIN and type(value) is kind:
            return value
    raise AdvbenchError(f"{title}: {key} is {_words(kinds)}, not {value!r}")


def _kinds(parameter: inspect.Parameter) -> Iterator[Any]:
    """The types that it may have: those of its annotation, else that of its default, of which a number may be any."""
    annotation, default = parameter.annotation, parameter.default
    if annotation is not parameter.empty:
        yield from _members(annotation)
    elif default is parameter.empty or default is None:
        yield Any
    else:
        yield type(default)
        if type(default) is int:
            yield float


def _members(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif origin in (tuple, list):
        yield origin
    else:
        yield annotation


def _words(kinds: tuple[Any, ...]) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    words |= {tuple: "a list", list: "a list"}
    said = []
    for kind in kinds:
        if typing.get_origin(kind) is Literal:
            said += [str(choice).lower() for choice in typing.get_args(kind)]
        elif kind in words:
            said.append(words[kind])
    return " or ".join(said) if said else "something that can't be written as text"
