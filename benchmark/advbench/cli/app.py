"""What `main` hands to the commands: the plugins, discovered when a command asks for them."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import typer

from advbench import hooks
from advbench.cli import loading
from advbench.errors import AdvbenchError, PluginError, one_line, printable
from advbench.plugins.installed import Point, chosen, installed
from advbench.plugins.remembered import Memory, Row, recalled, remember
from advbench.terminal.text import complain

if TYPE_CHECKING:
    from advbench.plugins.origin import Origin
    from advbench.plugins.registry import Registry


class App:
    """Loads plugins, and torch with them, for the commands that need them and for no others."""

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry
        self._answered = typer.Typer()
        """Commands by `advbench_commands`."""
        self._answerers: dict[str, Origin] = {}
        """Who added which of them."""

    @property
    def registry(self) -> Registry:
        """All plugins that are installed, discovered once."""
        if self._registry is None:
            self._registry = self._discover()
        return self._registry

    def checked(self, strict: bool = False) -> Registry:
        """The registry, after a line on standard error about each broken plugin; under `--strict` one is the end."""
        self.refuse_broken(strict)
        for broken in self.registry.broken:
            complain(str(broken))
        return self.registry

    def refuse_broken(self, strict: bool) -> None:
        if strict and self.registry.broken:
            broken = "; ".join(f"{b.origin}: {b.error}" for b in self.registry.broken)
            raise AdvbenchError(f"broken plugins (see `advbench plugins`): {broken}")

    @cached_property
    def memory(self) -> Memory:
        """What a full discovery found, the last one while nothing has changed since."""
        if memory := recalled():
            return memory
        remember(memory := self._new_memory())
        return memory

    @cached_property
    def points(self) -> dict[str, Point]:
        """Entry points of commands by name; advbench's own are always there, and the first of a name has it."""
        points: dict[str, Point] = {}
        for point, origin in _command_points():
            if point.name not in loading.COMMANDS:
                points.setdefault(point.name, (point, origin))
        return points

    @cached_property
    def strangers(self) -> bool:
        """Whether anybody else's plugins are installed, who may have brought commands."""
        points = [*chosen(installed(hooks.GROUP)), *self.points.values()]
        return any(not origin.built_in for _, origin in points)

    def answered(self, name: str) -> loading.Command | None:
        """The command of that name that a plugin added by `advbench_commands`."""
        if not self.strangers:
            return None
        _ = self.registry
        if (command := loading.all_of(self._answered).get(name)) is None and name in self.memory.commands:
            remember(memory := self._new_memory())  # what was remembered is not so
            self.memory = memory
        return command

    def _discover(self) -> Registry:
        """Everything that is installed; who wants a command that is taken is broken like one that can't be loaded."""
        from advbench.plugins.discovery import discover

        _one_thread_per_core_unless_told()
        registry = discover()
        for point, origin in _command_points():
            if self.points.get(point.name, (None, None))[1] != origin:
                registry.set_aside(origin, PluginError(f"the command {point.name!r} exists already"))
        self._answerers = registry.commands(self._answered, (*loading.COMMANDS, *self.points))
        return registry

    def _new_memory(self) -> Memory:
        strangers = {name: words for name, (origin, words) in self._commands.items() if not origin.built_in}
        return Memory(tuple(self.described()), strangers, whole=not self.registry.broken)

    def described(self) -> list[Row]:
        """Who shipped what: every entrant, and every command but the core's own."""
        rows = self.registry.describe()
        for name, (origin, words) in self._commands.items():
            summary = printable(words.split("\n\n")[0])
            rows.append(Row("command", name, summary, "", origin.distribution, origin.version, origin.entry_point))
        return rows

    @cached_property
    def _commands(self) -> dict[str, tuple[Origin, str]]:
        """By name, who shipped it and its help."""
        _ = self.registry  # which asks plugins for theirs
        answered = loading.all_of(self._answered).items()
        commands = {name: (self._answerers[name], command.help or "") for name, command in answered}
        for name, (point, origin) in self.points.items():
            try:
                words = loading.loaded(point, origin).help or ""
            except PluginError as error:
                words = f"Can't be loaded: {one_line(error)}"
            commands[name] = origin, words
        return commands


def _command_points() -> list[Point]:
    """The installed entry points of commands that `ADVBENCH_PLUGINS` lets through; our own load no plugin."""
    points = installed(hooks.COMMAND_GROUP)
    own = [one for one in points if one[1].built_in]
    return [*own, *(one for one in chosen(points) if one not in own)]


def _one_thread_per_core_unless_told() -> None:
    """torch's own default also counts hyper-threads and ignores a container's limit."""
    import torch

    from advbench.engines.choice import processors

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(processors())
