"""The command line: one module a command."""

from __future__ import annotations

import os
import sys

import typer

from advbench.cli import compare, data, export, plan, plugins, run, show, train, verify
from advbench.cli.options import App
from advbench.cli.text import plain
from advbench.errors import AdvbenchError
from advbench.registry import discover

app = typer.Typer(
    name="advbench",
    help="Evaluate every attack against every model and defense, and let a referee decide.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, plan, plugins, show, compare, verify, export, train, data):
    command.register(app)


def main() -> None:
    """The console script: every error that a person can act on is one line and exit code 2."""
    try:
        _one_thread_per_core_unless_told()
        registry = discover()
        registry.commands(app)
        app(obj=App(registry))
    except AdvbenchError as error:
        print(f"advbench: {plain(str(error), newlines=True)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `advbench show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _one_thread_per_core_unless_told() -> None:
    """torch's own default also counts hyper-threads and ignores a container's limit."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(cores)
