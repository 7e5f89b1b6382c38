"""The Python door: any `torch.nn.Module` on tensors or a data set, with the referee and the numbers of the CLI."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from torch import nn

from advbench.data import DataFolders
from advbench.engines.choice import choose_engine
from advbench.errors import AdvbenchError, PluginError
from advbench.evaluation.plot import bars
from advbench.interrupts import Interrupted, listening
from advbench.parameters import Parametric
from advbench.plugin import Attack, Dataset, Defense, Model
from advbench.plugins.discovery import discover
from advbench.plugins.given import GivenData, GivenModel, Images, checked_examples, count_classes, held_out_examples
from advbench.plugins.muster import Muster
from advbench.plugins.registry import Registry
from advbench.rates.notes import Note, notes
from advbench.run.hardware import choose_device
from advbench.run.report import Reporter
from advbench.run.run import gather, run
from advbench.run.session import Settings
from advbench.store import Store
from advbench.suite.plan import Skip, make_plan
from advbench.suite.standard import standard_attacks
from advbench.suite.suite import suite_from_mapping
from advbench.threats import Threat


@dataclass(frozen=True)
class Evaluation:
    """What was found; prints as a table, shows as a picture in a notebook."""

    store: Store
    """Every fact, also those that the database held before."""
    boards: tuple[str, ...]
    """Keys of the boards that were asked for."""
    targets: dict[str, str]
    """Labels by key: the model behind each of the defenses, in their order."""
    failed: tuple[tuple[str, str], ...]
    """Cells that ended with an error, each with its reason."""
    skipped: tuple[Skip, ...]
    """Pairs that don't meet, each with its reason."""

    @property
    def rates(self) -> list[dict[str, Any]]:
        """A row per board, target and attack: accuracy under it with its interval."""
        return self._rows("attack_accuracy")

    @property
    def robust_accuracy(self) -> dict[str, float | None]:
        """By board: the share right when clean and under every attack; None where one failed or none was run.

        With several defenses, the key is the board with the target's label behind it.
        """
        return {self._named(row): row["accuracy"] for row in self._rows("worst_cases")}

    @property
    def clean_accuracy(self) -> float:
        """Of the model behind the first of the defenses, on as many examples as the first board takes."""
        return float(self._rows("answered")[0]["accuracy"])

    @property
    def notes(self) -> list[Note]:
        """Signs that a number may say more about the attacks than about the target, each with its reason."""
        with self.store.tallied():
            return [n for n in notes(self.store) if n.board in self.boards and n.target in self.targets]

    def plot(self) -> Picture:
        """Accuracy on clean images, under each attack and in the worst case."""
        return Picture(bars(self._bars(), title="Accuracy under attack, with 95 % intervals"))

    def _rows(self, view: str) -> list[dict[str, Any]]:
        """What the view says of this evaluation alone, boards and targets in the order in which they were asked for."""
        places = {key: place for place, key in enumerate((*self.boards, *self.targets))}
        rows = [r for r in self.store.rates(view) if r["board"] in self.boards and r["target"] in self.targets]
        return sorted(rows, key=lambda row: (places[row["board"]], places[row["target"]]))

    def _named(self, row: Mapping[str, Any]) -> str:
        return str(row["board_name"]) if len(self.targets) == 1 else f"{row['board_name']} {row['target_label']}"

    def _bars(self) -> list[tuple[str, float, float, float]]:
        clean = {row["target"]: row for row in reversed(self._rows("answered"))}
        one = len(self.targets) == 1
        found = [
            ("clean images" if one else f"clean images {label}", clean[key])
            for key, label in self.targets.items()
            if key in clean
        ]
        found += [(f"{self._named(row)}: {row['entrant']}", row) for row in self.rates]
        worst = [row for row in self._rows("worst_cases") if row["accuracy"] is not None]
        found += [(f"{self._named(row)}: worst case", row) for row in worst]
        return [(name, row["accuracy"], row["accuracy_low"], row["accuracy_high"]) for name, row in found]

    def __str__(self) -> str:
        from rich.console import Console

        from advbench.terminal.tables import print_boards
        from advbench.terminal.text import say

        console = Console(width=120, no_color=True, highlight=False)
        with console.capture() as captured:
            print_boards(console, self.store, keys=self.boards, targets=self.targets)
            for label, reason in self.failed:
                say(console, f"failed: {label}: {reason}")
            for skip in self.skipped:
                say(console, f"skipped: {skip.what} on {skip.target}: {skip.reason}")
        return captured.get().rstrip()

    def _repr_html_(self) -> str:
        """The picture, and below it all that is printed: the numbers, who is unranked, and every doubt about them."""
        return f"{self.plot().svg}<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True)
class Picture:
    """An SVG picture that a notebook draws by itself."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        path = Path(path)
        path.write_text(self.svg, encoding="utf-8")
        return path


@listening()
def evaluate(
    model: nn.Module | Model | str,
    images: Images | None = None,
    labels: Images | None = None,
    *,
    dataset: Dataset | str | None = None,
    threats: Sequence[Threat | str] | Threat | str,
    attacks: Sequence[Attack | str] | Attack | str | None = None,
    defenses: Sequence[Defense | str] | Defense | str = ("none",),
    goals: Sequence[str] | str = ("untargeted",),
    examples: int | None = None,
    drawn: int | None = None,
    calibrate: tuple[Images, Images] | None = None,
    publishable: bool = True,
    seed: int = 0,
    stop: str = "first",
    fit: str = "calibrate",
    precision: str = "float32",
    device: str = "auto",
    batch_size: int | None = None,
    jobs: int | str | None = None,
    engine: str = "auto",
    address: str | None = None,
    train: bool = False,
    db: str | Path | None = None,
    data: Iterable[str | Path] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Attack a model on images in [0, 1] with labels, or on a data set by name, and referee every example.

    Names are those of `advbench plugins`, with parameters as on the command line: `"pgd(steps=20)"`. Without attacks,
    every ball is searched by those of `advbench.standard`, which are strong and take their time. So many `examples` are
    judged, the first ones or those that the seed `drawn` draws. Detectors among the defenses set their threshold on
    `calibrate`: clean images and labels beside those that are judged; attacks with one perturbation for all fit it
    there, or on the part that `fit` names; those that see labels alone start there, and without it can't aim at a
    class. With `precision="bf16"` attacks ask in bfloat16, and everything else stays in float32. A model that has no
    weights here is trained first, over ten minutes only with `train`. With `jobs`, a number or "auto", so many
    processes craft and judge, and else this one alone; networks and attacks must then be importable there. With
    `engine="ray"` or an `address`, workers of a Ray cluster do: all of its cores, or as many as `jobs` says. With `db`
    the facts also go to a database that `advbench show` reads, with pictures of the first images, unless they are not
    `publishable`. Plugins that are installed and broken are warned about.
    """
    if (images is None) == (dataset is None) or (images is None) != (labels is None):
        raise AdvbenchError("give either images with labels, or dataset=")
    if calibrate is not None and images is None:
        raise AdvbenchError("calibrate= goes with images; a data set holds images back by itself")
    if not publishable and images is None:
        raise AdvbenchError("publishable= goes with images; a data set declares it by itself")
    if batch_size is not None and batch_size < 1:
        raise AdvbenchError(f"batch_size must be at least 1, not {batch_size}")
    if registry is None:
        registry = discover()
        for broken in registry.broken:
            warnings.warn(str(broken), stacklevel=2)
    where = choose_device(device)
    entrant: Model | str = GivenModel.of(model, type(model).__name__) if isinstance(model, nn.Module) else model
    judged: Any = dataset
    if images is not None and labels is not None:
        brought = checked_examples(images, labels)
        held_out = held_out_examples(*calibrate, brought) if calibrate else brought[:0]
        judged = GivenData.of(brought, held_out, count_classes(entrant, brought), publishable=publishable)
    suite = suite_from_mapping(
        {
            "name": "evaluate",
            "data": judged,
            "models": [entrant],
            "defenses": _listed(defenses),
            **({} if attacks is None else {"attacks": _listed(attacks)}),
            "goals": _listed(goals),
            "threats": _listed(threats),
            "seed": seed,
            "stop": stop,
            "fit": fit,
            "precision": precision,
            **({} if examples is None else {"examples": examples}),
            **({} if drawn is None else {"drawn": drawn}),
        },
        registry,
        unsaid=partial(standard_attacks, registry=registry),
    )
    laid_out = make_plan(suite)
    if not laid_out.cells:  # before a database is made
        raise AdvbenchError("nothing could be attacked: " + "; ".join(laid_out.reasons))
    folders = DataFolders.default(data)
    settings = Settings(
        device=where,
        folders=folders,
        batch=batch_size,
        engine=choose_engine(
            str(jobs if jobs is not None else 1 if engine != "ray" and address is None else "auto"),
            where,
            laid_out.tasks,
            option="jobs=",
            engine=engine,
            address=address,
            expected=lambda: Muster.here(laid_out.plugins, registry),
        ),
        command="advbench.evaluate",
        train=train,
    )
    gathered = gather(laid_out, settings)
    store = Store.open(db) if db else Store.memory()
    try:
        summary = run(gathered, store, registry, settings, reporter)
        if summary.interrupted:
            raise Interrupted
        if not summary.targets:
            reasons = [f"{label}: {reason}" for label, reason in summary.failed]
            raise PluginError("nothing could be attacked: " + "; ".join(dict.fromkeys([*reasons, *laid_out.reasons])))
    except BaseException:
        store.close()
        raise
    found = Evaluation(store, summary.boards, summary.targets, tuple(summary.failed), laid_out.skips)
    weakref.finalize(found, store.close)
    return found


def _listed(value: Any) -> list[Any]:
    """One name may stand without its list; a text is a list of letters only to Python."""
    return [value] if isinstance(value, str | Parametric) else list(value)
