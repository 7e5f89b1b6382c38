"""What a suite asks for, laid out before anything runs: targets, cells, and what is skipped with the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass

from advbench.errors import AdvbenchError, PluginError
from advbench.goal import class_of, expand
from advbench.plugin import Attack, Plugin
from advbench.plugins.compatibility import why_no_target, why_not
from advbench.plugins.foreign import attributed
from advbench.suite.board import Board
from advbench.suite.suite import Suite
from advbench.target.identity import TargetPlan, chain_label
from advbench.threats import Threat
from advbench.threats.shared import Shared


@dataclass(frozen=True)
class CellPlan:
    """One attack in one ball with one goal on one source target."""

    source: TargetPlan
    attack: Attack
    threat: Threat
    goal: str
    examples: int | None
    drawn: int | None = None
    """The seed by which the examples are drawn; None for the first ones."""

    @property
    def label(self) -> str:
        aim = "" if self.goal == "untargeted" else f" to {self.goal}"
        return f"{self.attack.label}{aim} in {self.threat.name} {self.threat.radius} on {self.source.label}"

    @property
    def ball(self) -> Threat:
        """The threat in which its perturbations are rendered and measured."""
        return Shared.of(self.threat) if self.attack.scope == "set" else self.threat

    def passes(self, count: int) -> int | None:
        """Forward passes over so many examples when nothing stops early; None when that depends on other examples."""
        if self.attack.scope == "set":
            return None
        with attributed(f"{self.attack.label}: `passes` failed"):
            each: object = self.attack.passes(self.source.dataset.classes)
        if each is not None and not isinstance(each, int):
            raise PluginError(f"{self.attack.label}: `passes` returned {type(each).__name__}, not a number or None")
        return None if each is None else each * min(count, self.examples or count)


@dataclass(frozen=True)
class Skip:
    """A combination that does not run, and why."""

    dataset: str
    model: str
    defenses: str
    attack: str
    threat: str
    goal: str
    reason: str

    @property
    def target(self) -> str:
        return self.model if self.defenses == "none" else f"{self.model}+{self.defenses}"

    @property
    def what(self) -> str:
        """The attack with its goal and ball; a target that makes no sense meets nothing."""
        return f"{self.attack}, {self.goal}, in {self.threat}" if self.attack else "everything"


EVERY = 10**6
"""More examples than any data set has, for boards that name no number."""


@dataclass(frozen=True)
class Plan:
    """What a suite runs and what it skips."""

    suite: Suite
    targets: tuple[TargetPlan, ...]
    cells: tuple[CellPlan, ...]
    skips: tuple[Skip, ...]
    broken: tuple[tuple[TargetPlan, str], ...]
    """Set aside, each with the reason: a plugin fails when it is asked whether the target makes sense."""

    @property
    def tasks(self) -> int:
        """How many shards there are at most: what can be done at the same time."""
        return sum(-(-(cell.examples or EVERY) // self.suite.shard) for cell in self.cells)

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """All that its outcomes are made with, each once."""
        targets = (one for target in self.targets for one in (target.dataset, target.model, *target.defenses))
        attacks = (one for cell in self.cells for one in (cell.attack, cell.threat))
        return tuple(dict.fromkeys((*targets, *attacks)))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why pairs don't meet, each reason once."""
        return tuple(dict.fromkeys([reason for _, reason in self.broken] + [skip.reason for skip in self.skips]))


def make_plan(suite: Suite) -> Plan:
    """Pair everything that is compatible; cells of one target stand together."""
    datasets = list(dict.fromkeys(board.dataset for board in suite.boards))
    targets, cells, skips, broken = [], [], [], []
    for dataset in datasets:
        boards = [board for board in suite.boards if board.dataset == dataset]
        for model in suite.models:
            for defenses in suite.defenses:
                target = TargetPlan(dataset, model, defenses)
                try:
                    with attributed(f"{target.label}: what it declares can't be read"):
                        reason = why_no_target(model, defenses, dataset)
                except AdvbenchError as error:
                    broken.append((target, str(error)))
                    continue
                if reason:
                    skips.append(Skip(dataset.label, model.label, chain_label(defenses), "", "", "", reason))
                    continue
                targets.append(target)
                for board in boards:
                    paired, refused = _on_board(target, board)
                    cells += paired
                    skips += refused
    return Plan(suite, tuple(targets), tuple(dict.fromkeys(cells)), tuple(dict.fromkeys(skips)), tuple(broken))


def _on_board(target: TargetPlan, board: Board) -> tuple[list[CellPlan], list[Skip]]:
    cells, skips = [], []
    model, defenses = target.model, target.defenses
    for attack in board.attacks:
        # the smallest perturbation answers for every radius: one cell in the unbounded ball serves all boards
        threat = board.threat.at(math.inf) if attack.minimizes and board.threat.unbounded else board.threat
        for goal in board.goals:
            if goal.startswith("class="):
                class_of(goal, board.dataset.classes)
            if reason := why_not(attack, board.threat, goal, model, defenses):
                skips.append(
                    Skip(
                        target.dataset.label,
                        model.label,
                        chain_label(defenses),
                        attack.label,
                        f"{board.threat.name}/{board.threat.radius}",
                        goal,
                        reason,
                    )
                )
                continue
            goals = expand(goal, board.dataset.classes)
            cells += [CellPlan(target, attack, threat, one, board.examples, board.drawn) for one in goals]
    return cells, skips
