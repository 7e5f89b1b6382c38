"""A board: a data set and a ball, and what is judged there; read from the threats of a suite."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from advbench.access import Access
from advbench.errors import AdvbenchError
from advbench.goal import class_of
from advbench.plugin import Attack, Dataset
from advbench.plugins.foreign import attributed
from advbench.suite.document import Item, Place
from advbench.suite.resolution import Resolution, Scalars
from advbench.threats.threat import Threat

BOARD_KEYS = ("data", "examples", "drawn", "attacks", "goals", "required")


@dataclass(frozen=True)
class Board:
    """A data set and a threat, and what is judged there."""

    dataset: Dataset
    threat: Threat
    examples: int | None
    attacks: tuple[Attack, ...]
    goals: tuple[str, ...]
    required: tuple[str, ...]
    """Labels of the attacks whose pointwise worst case is the robust accuracy."""
    drawn: int | None = None
    """The seed by which the examples are drawn; None for the first ones."""

    @property
    def name(self) -> str:
        return f"{self.dataset.label}/{self.threat.name}/{self.threat.radius}"


@dataclass(frozen=True)
class Ball:
    """A threat of the suite, and what is said about its boards alone."""

    threat: Threat
    options: dict[str, Item]
    place: Place


@dataclass(frozen=True)
class Options:
    """The options of a `Ball` with names resolved to entrants; a field is empty where its option is not given."""

    data: tuple[Dataset, ...]
    attacks: tuple[Attack, ...]
    goals: tuple[str, ...]
    counts: dict[str, Any]
    """`examples` and `drawn`, as far as they are given."""


def unfit(threat: Threat, dataset: Dataset) -> str | None:
    """Why no board of this ball and these images is meant, by what the ball says; a stranger's may fail to say it."""
    try:
        with attributed(f"{threat.label}: it can't say its radius, its family, or whether it serves {dataset.label}"):
            named, reason = f"{threat.radius} {threat.family}", threat.why_not(dataset.shape)
            return reason if named.isprintable() else "it has a radius or a family that can't be printed"
    except AdvbenchError as error:
        return str(error)


@dataclass(frozen=True)
class BoardReader:
    """Reads the threats of a suite, and the board keys (`examples`, `attacks`, …) inside a threat's mapping."""

    resolution: Resolution
    unsaid: Callable[[Threat], tuple[Attack, ...]] | None = None
    """The default attacks of a ball; None means that the suite must name its attacks."""

    def boards(
        self,
        entries: Mapping[str, Item],
        written: Item | None,
        scalars: Scalars,
        given: Mapping[str, Item],
        root: Place,
    ) -> tuple[Board, ...]:
        """A board for every data set and threat."""
        replacing = {key: key for key in BOARD_KEYS} | {"required": "attacks"}
        balls = [
            dataclasses.replace(ball, options={k: v for k, v in ball.options.items() if replacing[k] not in given})
            for ball in self.balls(entries.get("threats"), written, "threats" in given, root)
        ]
        needed = {key: None if balls and all(key in b.options for b in balls) else root for key in ("data", "attacks")}
        if self.unsaid:
            needed["attacks"] = None
        data = self.resolution.several(
            entries.get("data"), "data", self.resolution.entrant(Dataset, "data set"), needed["data"]
        )
        attacks = self.resolution.several(
            entries.get("attacks"), "attacks", self.resolution.entrant(Attack, "attack"), needed["attacks"]
        )
        goals = self.resolution.several(entries.get("goals"), "goals", self.resolution.goal, None)
        boards: dict[str, Board] = {}
        for ball in balls:
            own = self.options(ball.options)
            tried = own.attacks or attacks or self.usual(ball)
            required = self.required(ball.options.get("required"), tried, ball.threat)
            for dataset in own.data or data:
                if reason := unfit(ball.threat, dataset):
                    self.resolution.fault(ball.place, reason)
                board = Board(
                    dataset,
                    ball.threat,
                    own.counts.get("examples", scalars.examples),
                    tried,
                    own.goals or goals or ("untargeted",),
                    required,
                    own.counts.get("drawn", scalars.drawn),
                )
                self.counted(board, ball.options.get("drawn") or entries.get("drawn"))
                self.classes(board, ball.options.get("goals") or entries.get("goals"))
                if board.name in boards:
                    self.resolution.fault(ball.place, f"threats: the board {board.name} is listed twice")
                boards.setdefault(board.name, board)
        return tuple(boards.values())

    def usual(self, ball: Ball) -> tuple[Attack, ...]:
        """The attacks of a ball for which none are named; nothing where that is a mistake, which has been told."""
        try:
            return self.unsaid(ball.threat) if self.unsaid else ()
        except AdvbenchError as error:
            self.resolution.fault(ball.place, str(error))
            return ()

    def balls(self, item: Item | None, written: Item | None, replaced: bool, root: Place) -> list[Ball]:
        """The suite's threats; one from the command line keeps what the file says about its family."""
        balls: list[Ball] = []

        def read(one: Item) -> Threat | None:
            ball = self.ball(one)
            balls.extend([ball] if ball else [])
            return None  # boards tell what is listed twice

        self.resolution.several(item, "threats", read, root)
        if not replaced or written is None:
            return balls
        # what the file says of other threats no longer matters
        silent = BoardReader(Resolution(self.resolution.registry))
        kept = silent.balls(written, None, False, root)
        return [one for ball in balls for one in self.kin(ball, kept)]

    def kin(self, ball: Ball, kept: list[Ball]) -> list[Ball]:
        """The ball with the options that the file gives to its threat, else to its family; once for each `data`."""
        same = [one for one in kept if one.threat == ball.threat]
        same += [one for one in kept if one.threat.family == ball.threat.family and one.options]
        by_data: dict[str, Ball] = {}
        for one in same:
            data = repr(one.options["data"].parameter) if "data" in one.options else ""
            by_data.setdefault(data, dataclasses.replace(ball, options=one.options))
        return list(by_data.values()) or [ball]

    def ball(self, item: Item) -> Ball | None:
        inner: dict[str, Item] = {}
        if isinstance(item.value, dict) and len(item.value) == 1:
            ((key, content),) = item.value.items()
            if isinstance(content.value, dict):
                inner = {k: v for k, v in content.value.items() if k in BOARD_KEYS}
                params = {k: v for k, v in content.value.items() if k not in BOARD_KEYS}
                item = dataclasses.replace(item, value={key: dataclasses.replace(content, value=params)})
        threat: Threat | None = (
            item.value
            if isinstance(item.value, Threat)
            else self.resolution.configured(item, "threat", "threat", extra=BOARD_KEYS)
        )
        if threat is not None and (owner := self.resolution.registry.namesake(threat)):
            self.resolution.fault(
                item.place, f"{threat.name}: the name of a ball of {owner}; give yours one of its own"
            )
            threat = None
        if threat is not None and math.isinf(threat.eps):
            self.resolution.fault(
                item.place, f"{threat.name}: a board has a finite radius; minimal-norm attacks leave it by themselves"
            )
            threat = None
        if threat is not None and not threat.eps >= 0:  # a ball may have forgotten to look
            self.resolution.fault(item.place, f"{threat.name}: eps must be at least 0")
            threat = None
        if threat is None:
            self.options(inner)  # its mistakes are told all the same
            return None
        return Ball(threat, inner, item.place)

    def options(self, inner: Mapping[str, Item]) -> Options:
        """Resolve the options that stand beside a threat's parameters."""
        return Options(
            data=self.resolution.several(inner.get("data"), "data", self.resolution.entrant(Dataset, "data set"), None),
            attacks=self.resolution.several(
                inner.get("attacks"), "attacks", self.resolution.entrant(Attack, "attack"), None
            ),
            goals=self.resolution.several(inner.get("goals"), "goals", self.resolution.goal, None),
            counts={
                name: value
                for key in ("examples", "drawn")
                if key in inner
                for name, value in self.resolution.setting(key, inner[key]).items()
            },
        )

    def counted(self, board: Board, item: Item | None) -> None:
        """Hold against a board that nothing says how many of its examples are drawn."""
        if board.drawn is not None and board.examples is None and item is not None:
            title = "drawn: " if item.place.line else ""  # an option or a path says its own name
            self.resolution.fault(item.place, f"{title}needs `examples`, which says how many are drawn")

    def classes(self, board: Board, item: Item | None) -> None:
        for goal in board.goals:
            if goal.startswith("class=") and item is not None:
                try:
                    class_of(goal, board.dataset.classes)
                except AdvbenchError as error:
                    self.resolution.fault(item.place, f"{error} ({board.dataset.label})")

    def required(self, item: Item | None, attacks: tuple[Attack, ...], threat: Threat) -> tuple[str, ...]:
        labels = [attack.label for attack in attacks]
        if item is None:
            able = [attack for attack in attacks if attack.searches(threat)]
            # attacks that need suspicion or reconstructions meet few targets; required, they would leave most unranked
            modest = [attack for attack in able if attack.needs in Access.GRADIENTS]
            return tuple(attack.label for attack in modest or able)
        known = {attack.label: attack.name for attack in attacks}
        read = self.resolution.entrant(Attack, "attack")

        def on_board(one: Item) -> str | None:
            attack = read(one)
            if attack is None or attack.label in known:
                return attack.label if attack else None
            near = [label for label, name in known.items() if name == attack.name]
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.resolution.fault(
                one.place, f"required: {attack.label!r} is not among the board's attacks {labels}{hint}"
            )
            return None

        return self.resolution.several(item, "required", on_board, None)
