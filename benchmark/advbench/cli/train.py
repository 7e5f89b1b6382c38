"""`advbench train`: weights by recipe, ahead of a run; or a check that shipped weights are what their recipe makes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from advbench.cli import options as opt
from advbench.errors import AdvbenchError, PluginError, one_line
from advbench.plugins.foreign import attributed
from advbench.terminal.text import duration, percent, say, terminal

if TYPE_CHECKING:
    import torch

    from advbench.data import Data, DataFolders
    from advbench.plugins.registry import Registry
    from advbench.target.identity import TargetPlan


def train(
    context: typer.Context,
    model: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Models, as `small-cnn` or `small-cnn(width=32)`; or a suite, for all that it needs and is not here.",
        ),
    ],
    dataset: Annotated[str, typer.Option("--dataset", metavar="NAME", help="The data set to train on.")] = "mnist-5k",
    defense: Annotated[
        str, typer.Option("--defense", metavar="NAME", help="A defense that changes training, or `a+b`.")
    ] = "none",
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    check: Annotated[
        bool, typer.Option("--check", help="Train again and hold the result against the weights that are there.")
    ] = False,
    publish: Annotated[
        Path | None,
        typer.Option("--publish", metavar="FOLDER", help="Also copy the weights into a folder with a manifest."),
    ] = None,
    offline: opt.Offline = False,
) -> None:
    """Train models by their recipes, or all that a suite lacks; what is there already is not trained again."""
    from advbench.plugins import data_intake
    from advbench.plugins.compatibility import why_no_target
    from advbench.run.hardware import choose_device, make_repeatable
    from advbench.target.identity import TargetPlan

    console = terminal()
    make_repeatable()
    registry = context.obj.checked()
    where = choose_device(device)
    on = registry.dataset(dataset)
    defenses = registry.defense(defense)
    folders = opt.folders(data, offline)
    wanted: list[tuple[TargetPlan, Data]] = []
    if suites := [text for text in model if _is_suite(text)]:
        if check or publish or len(suites) < len(model):
            raise AdvbenchError(f"{suites[0]} is a suite: name models to check or publish them, or the suite alone")
        wanted = [one for text in suites for one in _lacking(console, text, registry, folders)]
    else:
        models = [registry.model(text) for text in model]
        for each in models:
            if reason := why_no_target(each, defenses, on):
                raise AdvbenchError(reason)
        loaded = data_intake.load(on, folders)
        wanted = [(TargetPlan(on, each, defenses), loaded) for each in models]
    failed = False
    for plan, loaded in wanted:
        try:
            with attributed(plan.label):
                lines, agrees = _train_or_check(console, plan, loaded, where, check=check, publish=publish)
        except PluginError as error:  # a stranger's: the others go on
            say(console, f"failed: {one_line(error)}", "red")
            failed = True
            continue
        failed |= not agrees
        for line in lines:
            say(console, f"{plan.label} on {plan.dataset.label}: {line}")
    if failed:
        raise typer.Exit(1)


def _is_suite(text: str) -> bool:
    from advbench.suite.suite import embedded_suites

    return text in embedded_suites() or text.endswith((".yaml", ".yml"))


def _lacking(console: Console, suite: str, registry: Registry, folders: DataFolders) -> list[tuple[TargetPlan, Data]]:
    """The networks of a suite that have no weights here."""
    from advbench.plugins import data_intake
    from advbench.run.missing_weights import missing_weights
    from advbench.suite.plan import make_plan
    from advbench.suite.suite import load_suite

    laid_out = make_plan(load_suite(suite, registry))
    loaded = {one: data_intake.load(one, folders) for one in dict.fromkeys(each.dataset for each in laid_out.targets)}
    lacking = [(one.target, one.data) for one in missing_weights(laid_out.targets, loaded)]
    if not lacking:
        say(console, f"{suite}: the weights of all its networks are here")
    return lacking


def _train_or_check(
    console: Console, plan: TargetPlan, loaded: Data, where: torch.device, *, check: bool, publish: Path | None
) -> tuple[list[str], bool]:
    """What is to be said of one model, and whether a check of it agrees."""
    from advbench.cli.progress import Display
    from advbench.weights.weights import check_weights, find_weights, obtain_weights

    agrees = True
    with Display(console) as display:

        def progress(fraction: float, text: str) -> None:
            display.training(plan.label, fraction, text)

        display.preparing(plan.label, 0, 1)
        if check:
            checked = check_weights(plan, loaded, device=where, progress=progress)
            agrees = checked.agrees
            kept, again = percent(checked.kept_accuracy), percent(checked.retrained_accuracy)
            lines = [
                f"{'agrees' if checked.agrees else 'DIFFERS'}: {kept} % right on the calibration part, trained "
                f"again {again} %; largest difference of a weight {checked.largest_difference:.2g}; "
                f"{duration(checked.seconds)} on {checked.hardware} ({checked.origin})"
            ]
        elif weights := find_weights(plan, loaded):
            lines = [f"already there: {weights.origin}"]
        else:
            began = time.monotonic()
            made = obtain_weights(plan, loaded, device=where, progress=progress)
            took = duration(time.monotonic() - began)
            lines = [f"{percent(made.accuracy)} % right on the calibration part, {took} ({made.origin})"]
    if publish:
        lines.append(published(plan, loaded, publish))
    return lines, agrees


def published(plan: TargetPlan, data: Data, folder: Path) -> str:
    """Copies what is there, with its accuracy on the judged part, and says so."""
    from advbench.weights.training import accuracy
    from advbench.weights.weight_files import publish_weights
    from advbench.weights.weights import find_weights

    weights = find_weights(plan, data)
    if weights is None or weights.path is None:
        raise AdvbenchError(f"{plan.model.label}: no file of weights to publish")
    right = accuracy(weights.net, data.judge)
    path = publish_weights(weights.path, folder, tested=round(right, 4))
    return f"published: {path}, {percent(right)} % right on the {len(data.judge)} judged images"
