"""One attack on one target, timed against the passes that it needs and against peers on the same images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.data import Examples
from advbench.draws import Draws
from advbench.errors import PluginError, one_line
from advbench.geometry import Geometry
from advbench.goal import Goal
from advbench.plugin import Attack
from advbench.plugins.foreign import no_exit
from advbench.problem.bank import Bank
from advbench.problem.problem import MARGIN, Problem, Stop
from advbench.run.ready import Ready
from advbench.target.referee import judge, render
from advbench.target.steadiness import batch_size
from advbench.threats import Threat
from advbench_peers.libraries import Peer, Setting
from advbench_peers.timing import in_turns, ratio

OURS = "advbench"
TOLERANCE = 0.01
"""What a peer's pixel may lie outside the box, and the share of its mass that an image may gain or lose."""
BEST = "the best of all peers, each example"


@dataclass(frozen=True)
class Row:
    """The result of one competitor: its time, its passes, and what its perturbations reach."""

    name: str
    seconds: float | None = None
    ratio: float | None = None
    """How many times as long as ours it took, the median over rounds."""
    accuracy: float | None = None
    """Share of the examples that it left right inside the ball; the referee's word for everybody."""
    norm: float | None = None
    """Median size over all examples for an attack that minimises it, infinite where nothing was found."""
    outside: int | None = None
    """Examples that it returned outside the ball or the box; of images alone, in a ball of plans, those outside the box
    or with other mass."""
    forwards: float | None = None
    """Forward passes an example that it really made."""
    backwards: float | None = None
    floor: float | None = None
    """Its time over that of the passes it made at the bare cost of one."""
    failed: str = ""
    """Why it has no numbers: the error that it ended in."""


@dataclass(frozen=True)
class Race:
    """The settings of a comparison."""

    attack: Attack
    threat: Threat
    ready: Ready
    device: torch.device
    stop: Stop = "first"
    seed: int = 0

    @property
    def examples(self) -> Examples:
        return self.ready.examples

    def run(self, peers: list[Peer], rounds: int) -> list[Row]:
        x = self.examples.pixels(self.device)
        labels = self.examples.labels.to(self.device)
        counted = Counted(self.ready.target.net).eval()
        problems: list[Problem] = []
        setting = Setting(
            counted,
            x,
            labels,
            self.threat.name,
            self.threat.eps,
            self.threat.params(),
            self.ready.target.classes,
            self.attack,
            self.seed,
        )

        def ours() -> Tensor:
            problem = self._problem(x, labels)
            p = problem.start() if problem.done else self.attack.perturb(problem)
            problems.append(problem)
            return self.threat.apply(x, problem.finish(p).detach())

        failed: dict[str, str] = {}
        runs = {OURS: ours, **{peer.name: _counting(peer, setting, counted) for peer in peers}}
        timed = in_turns({name: _guarded(name, run, x, failed) for name, run in runs.items()}, rounds, self.device)
        forward, backward = bare(self.ready.target.net, x, self.device)
        rows = []
        sizes: dict[str, list[float]] = {}
        for name, found in timed.items():
            if name in failed:
                rows.append(Row(name, failed=failed[name]))
                continue
            if name == OURS:
                forwards = float(problems[-1].forwards.float().mean())
                backwards = float(problems[-1].backwards.float().mean())
            else:
                forwards, backwards = counted.spent[name]
            floor = len(x) * (forwards * forward + backwards * backward)
            accuracy, sizes[name], outside = self._judged(x, found.result)
            norm = statistics.median(sizes[name]) if self.attack.minimizes else None
            rows.append(
                Row(
                    name=name,
                    seconds=found.median,
                    ratio=None if OURS in failed else ratio(found, timed[OURS]),
                    accuracy=accuracy,
                    norm=norm,
                    outside=outside,
                    forwards=forwards,
                    backwards=backwards,
                    floor=found.median / floor if floor else None,
                )
            )
        theirs = [row for row in rows if row.name != OURS and not row.failed]
        if self.attack.minimizes and len(theirs) > 1:
            rows.append(self._best(theirs, [sizes[row.name] for row in theirs]))
        return rows

    def _best(self, theirs: list[Row], sizes: list[list[float]]) -> Row:
        """What all peers together find, in the time of all of them."""
        smallest = [min(found) for found in zip(*sizes, strict=True)]
        return Row(
            name=BEST,
            seconds=sum(row.seconds or 0 for row in theirs),
            ratio=None if theirs[0].ratio is None else sum(row.ratio or 0 for row in theirs),
            accuracy=sum(size > self.threat.eps or size == math.inf for size in smallest) / len(smallest),
            norm=statistics.median(smallest),
            outside=0,
        )

    def _problem(self, x: Tensor, labels: Tensor) -> Problem:
        clean = self.ready.clean
        lead = clean.lead.to(self.device) * self.ready.target.scale
        already = (clean.predicted.to(self.device) != labels) & (lead > MARGIN)
        return Problem(
            images=x,
            goal=Goal(labels),
            threat=self.threat,
            target=self.ready.target,
            access=self.attack.needs,
            draws=Draws(self.seed, self.attack.name, self.examples.ids.to(self.device)),
            stop=self.stop,
            minimizes=self.attack.minimizes,
            measures=self.attack.measures,
            already=already,
            batch=batch_size(self.ready.target, self.device),
            bank=Bank(self.examples[:0]),  # peers are given no held-out images either
        )

    def _judged(self, x: Tensor, images: Tensor) -> tuple[float, list[float], int]:
        """Peers return images: in pixels, the perturbation is the difference; elsewhere only the image is looked at."""
        labels = self.examples.labels.to(self.device)
        images = images.detach().to(self.device, x.dtype)
        if Geometry.PIXELS in self.threat.offers:
            rendered = render(self.threat, x, images - x)
            verdicts = judge(self.ready.target, rendered, Goal(labels))
        else:
            outside = self._misshapen(x, images)
            answers = self.ready.target.net(images.clamp(0, 1)).argmax(1)
            return float(((answers == labels) | outside).float().mean()), [], int(outside.sum())
        accuracy = sum(not verdict.fooled for verdict in verdicts) / len(verdicts)
        sizes = [verdict.size if verdict.fooled else math.inf for verdict in verdicts]
        return accuracy, sizes, sum(verdict.violation is not None for verdict in verdicts)

    def _misshapen(self, x: Tensor, images: Tensor) -> Tensor:
        outside = ((images < -TOLERANCE) | (images > 1 + TOLERANCE)).flatten(1).any(1)
        if self.threat.name == "wasserstein":
            before, after = (part.flatten(1).sum(1) for part in (x, images))
            outside |= (after - before).abs() > TOLERANCE * before
        return outside


class Counted(nn.Module):
    """A network that counts the images it is asked about, and the gradients that flow back through it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.forwards = self.backwards = 0
        self.spent: dict[str, tuple[float, float]] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        answer: Tensor = self.net(x)
        if answer.requires_grad:
            answer.register_hook(self._count)  # type: ignore[no-untyped-call]
        return answer

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def _counting(peer: Peer, setting: Setting, counted: Counted) -> Callable[[], Tensor]:
    def run() -> Tensor:
        counted.forwards = counted.backwards = 0
        images = peer.run(setting)
        each = len(setting.images)
        counted.spent[peer.name] = counted.forwards / each, counted.backwards / each
        return images

    return run


def _guarded(name: str, run: Callable[[], Tensor], x: Tensor, failed: dict[str, str]) -> Callable[[], Tensor]:
    """Who fails once is not asked again, and keeps nobody else from running."""

    def guarded() -> Tensor:
        if name in failed:
            return x
        try:
            with no_exit(name):
                images = run()
            if not isinstance(images, Tensor) or images.shape != x.shape:
                got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
                raise PluginError(f"it returned {got} for images of {tuple(x.shape)}")
        except Exception as error:
            failed[name] = one_line(error)
            return x
        return images

    return guarded


def bare(net: nn.Module, x: Tensor, device: torch.device, passes: int = 10) -> tuple[float, float]:
    """Seconds that an image costs forward, and what the gradient adds, in the fastest of a few batch sizes."""
    costs = []
    for size in (64, 128, 256):
        batch = x[torch.arange(size, device=device) % len(x)]

        def forward(batch: Tensor = batch) -> None:
            with torch.no_grad():
                for _ in range(passes):
                    net(batch)

        def both(batch: Tensor = batch) -> None:
            for _ in range(passes):
                q = batch.clone().requires_grad_()
                torch.autograd.grad(net(q).sum(), q)

        timed = in_turns({"forward": forward, "both": both}, 3, device)
        one, two = (min(timed[name].seconds) / (passes * size) for name in ("forward", "both"))
        costs.append((two, one))
    two, one = min(costs)
    return one, two - one
