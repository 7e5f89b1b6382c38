"""The group of all commands: it lists names without loading what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from advbench.cli import loading
from advbench.errors import printable

if TYPE_CHECKING:
    from advbench.cli.app import App


class Commands(TyperGroup):
    """Ours, those of entry points, and those that plugins add by `advbench_commands`."""

    app: App

    def list_commands(self, ctx: Any) -> list[str]:
        names = [*loading.COMMANDS, *self.app.points]
        if self.app.strangers:
            names += [name for name in self.app.memory.commands if name not in names]
        return names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command as lists show it: of a stranger's no more than name and help, which were remembered."""
        point = self.app.points.get(cmd_name)
        if cmd_name in loading.COMMANDS or (point and point[1].built_in):
            return self._found(cmd_name)
        if not self.app.strangers or cmd_name not in self.app.memory.commands:
            return None

        def later() -> None: ...

        later.__doc__ = printable(self.app.memory.commands[cmd_name])
        return loading.command(cmd_name, later)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, with what follows its name."""
        if (command := self._found(args[0])) is not None:
            return args[0], command, args[1:]
        self.commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}  # to suggest one
        return super().resolve_command(ctx, args)

    def _found(self, name: str) -> Any:
        if name in loading.COMMANDS:
            return loading.own(name)
        if name in self.app.points:
            return loading.loaded(*self.app.points[name])
        return self.app.answered(name)
