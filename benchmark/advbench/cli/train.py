"""`advbench train`: weights by recipe, ahead of a run; or a check that shipped weights are what their recipe makes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
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
    from advbench.plugin import Dataset
    from advbench.plugins.registry import Registry
    from advbench.run.trainings import Trained
    from advbench.target.identity import TargetPlan


def train(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Models, as `small-cnn` or `small-cnn(width=32)`; or one suite, for all it lacks."
        ),
    ],
    dataset: Annotated[str, typer.Option("--dataset", metavar="NAME", help="The data set to train on.")] = "mnist-5k",
    defense: Annotated[
        str, typer.Option("--defense", metavar="NAME", help="A defense that changes training, or `a+b`.")
    ] = "none",
    data: opt.DataFolder = None,
    device: opt.Device = "auto",
    jobs: opt.Jobs = "auto",
    check: Annotated[
        bool, typer.Option("--check", help="Train again and hold the result against the weights that are there.")
    ] = False,
    publish: Annotated[
        Path | None,
        typer.Option("--publish", metavar="FOLDER", help="Also copy the weights into a folder with a manifest."),
    ] = None,
    offline: opt.Offline = False,
) -> None:
    """Train models by their recipes and keep the weights; what is there already is not trained again."""
    from advbench.run.hardware import choose_device, make_repeatable
    from advbench.weights.weights import find_weights

    console = terminal()
    make_repeatable()
    registry = context.obj.checked()
    where, folders = choose_device(device), opt.folders(data, offline)
    if suite := _suite(what, registry):
        for name in ("dataset", "defense", "check", "publish"):
            if context.get_parameter_source(name).name != "DEFAULT":  # type: ignore[union-attr]
                raise AdvbenchError(f"--{name} goes with models; the suite {suite} names its own")
        plans, datasets = _of_suite(suite, registry, folders)
    else:
        plans, datasets = _of_models(what, dataset, defense, registry, folders)
    failed = False
    missing = []
    for plan in plans:
        loaded = datasets[plan.dataset]
        try:
            with attributed(plan.label):
                if check:
                    agrees, line = _checked(console, plan, loaded, where)
                    failed |= not agrees
                elif weights := find_weights(plan, loaded):
                    line = f"already there: {weights.origin}"
                else:
                    missing.append(plan)
                    continue
        except PluginError as error:  # a stranger's: the others go on
            say(console, f"failed: {one_line(error)}", "red")
            failed = True
            continue
        _tell(console, plan, loaded, line, publish)
    for one in _trained(console, missing, datasets, jobs, where):
        if one.result is None:
            say(console, f"failed: {one.asked.label}: {one.reason}", "red")
            failed = True
            continue
        took = f"{percent(one.result.accuracy)} % right on the calibration part, {duration(one.result.seconds)}"
        _tell(console, one.asked.target, one.asked.data, f"{took} (trained just now: {one.path})", publish)
    if failed:
        raise typer.Exit(1)


def _suite(what: list[str], registry: Registry) -> str:
    """The suite that is named instead of models; empty where none is."""
    from advbench.suite.suite import embedded_suites

    named = [one for one in what if one.endswith((".yaml", ".yml")) or one in embedded_suites()]
    suites = [one for one in named if one not in registry.models]
    if suites and len(what) > 1:
        raise AdvbenchError(f"{suites[0]} is a suite: give it alone, or models")
    return suites[0] if suites else ""


def _of_suite(name: str, registry: Registry, folders: DataFolders) -> tuple[list[TargetPlan], dict[Dataset, Data]]:
    from advbench.plugins import data_intake
    from advbench.suite.plan import make_plan
    from advbench.suite.suite import load_suite

    plans = make_plan(load_suite(name, registry)).targets
    return list(plans), {one: data_intake.load(one, folders) for one in dict.fromkeys(plan.dataset for plan in plans)}


def _of_models(
    names: list[str], dataset: str, defense: str, registry: Registry, folders: DataFolders
) -> tuple[list[TargetPlan], dict[Dataset, Data]]:
    from advbench.plugins import data_intake
    from advbench.plugins.compatibility import why_no_target
    from advbench.target.identity import TargetPlan

    on, defenses = registry.dataset(dataset), registry.defense(defense)
    models = [registry.model(name) for name in names]
    for each in models:
        if reason := why_no_target(each, defenses, on):
            raise AdvbenchError(reason)
    return [TargetPlan(on, each, defenses) for each in models], {on: data_intake.load(on, folders)}


def _trained(
    console: Console, missing: list[TargetPlan], datasets: Mapping[Dataset, Data], jobs: str, where: torch.device
) -> Iterable[Trained]:
    """Everything that is missing, as many at a time as there are jobs; each as it ends."""
    from advbench.cli.progress import Display
    from advbench.engines.choice import choose_engine
    from advbench.run.missing_weights import missing_weights
    from advbench.run.trainings import Trainings

    lacking = list(missing_weights(missing, datasets))
    engine = choose_engine(jobs, where, len(lacking))
    if not lacking:
        return
    began = time.monotonic()
    with Display(console) as display:
        display.preparing("", 0, len(lacking))
        for done, one in enumerate(Trainings(engine, where, display.training).train(lacking), start=1):
            display.trained(one.asked.label)
            display.preparing("", done, len(lacking))
            yield one
    if len(lacking) > 1:
        say(console, f"{len(lacking)} trainings in {duration(time.monotonic() - began)}, {engine.workers} at a time")


def _checked(console: Console, plan: TargetPlan, loaded: Data, where: torch.device) -> tuple[bool, str]:
    """Whether weights trained once more agree with those that are kept, and what is to be said of them."""
    from advbench.cli.progress import Display
    from advbench.weights.weights import check_weights

    with Display(console) as display:

        def progress(fraction: float, text: str) -> None:
            display.training(plan.label, fraction, text)

        display.preparing(plan.label, 0, 1)
        checked = check_weights(plan, loaded, device=where, progress=progress)
    kept, again = percent(checked.kept_accuracy), percent(checked.retrained_accuracy)
    return checked.agrees, (
        f"{'agrees' if checked.agrees else 'DIFFERS'}: {kept} % right on the calibration part, trained "
        f"again {again} %; largest difference of a weight {checked.largest_difference:.2g}; "
        f"{duration(checked.seconds)} on {checked.hardware} ({checked.origin})"
    )


def _tell(console: Console, plan: TargetPlan, data: Data, line: str, publish: Path | None) -> None:
    for each in (line, *([published(plan, data, publish)] if publish else [])):
        say(console, f"{plan.label} on {plan.dataset.label}: {each}")


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
