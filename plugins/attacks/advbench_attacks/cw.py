"""The l2 attack of Carlini and Wagner (2017, arXiv:1608.04644): distance² + c · hinge of the margin, lowered by Adam.

Where the paper leaves something open:

- Pixels of exactly 0 and 1 lie at infinity in tanh variables. They start just inside the box (`INNER`), and Adam's
  step is ten times the usual 0.01: with that, 200 steps from atanh(0.999999) don't get a black pixel to move.
- The first c comes from the first gradient: three times what a linear network would need. A given `constant` is the
  paper's.
- When the label is to be left, the hinge is on the class whose linearised boundary is nearest at the start, and on the
  class that was reached once the label is left: the runner-up alone leads to farther boundaries.
- Adam's step falls to a quarter whenever a tenth of a round's steps has hardly lowered the objective (where the paper
  aborts), since 0.1 is too coarse to end with. A round is over when the step is fine, and without a
  success at the first such place.
- A round of the search for c begins at the best success, and without one where the last round ended; a round that ends
  with a success hardly smaller than the last one's was the last. Each example goes through its rounds at its own pace.
- Michels et al. (2019) name the paper's two other ways to stay in the box. `projected` clips the perturbation after
  each step of Adam; `clipped` lets it go and clips it inside the hinge alone. Both move pixels by a tenth of `rate`.
- A success has to lead by kappa, and the smallest of these is kept, as in the authors' code.
- A bisection towards the clean image, and a step to the nearest point of several linearised boundaries, end the
  attack (`ending`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from advbench import MARGIN, Access, Attack, Goal, Problem, at_least, one_of
from advbench_attacks.common.ending import LANDING, ended
from advbench_attacks.common.rival import lead, nearest_rival, rival_after

INNER = 1e-4
"""How far inside the box the tanh variables start, in widths of half the box."""
LARGEST = 1e10
"""The paper's upper end of c."""
LEGS = 10
"""How often in a round's steps the objective is compared (the paper's ten)."""
STUCK = 0.05
"""A leg that lowers the objective by less than this share makes Adam's step finer."""
FINER = 0.25
FINEST = 0.03
"""A round is over when its step is less than this share of the first."""
GAIN = 0.01
"""A round whose success is smaller by less than this share was the last."""
BETA = (0.9, 0.999)


@dataclass(frozen=True)
class Search:
    """What is known of each example whose search is not over, a row each."""

    of: Tensor
    rival: Tensor  # the class made for, when the goal is to leave the label
    w: Tensor  # its variables
    momentum: Tensor
    spread: Tensor
    rate: Tensor
    turn: Tensor  # steps since its round began
    round: Tensor
    c: Tensor
    lower: Tensor  # the largest c that failed
    upper: Tensor  # the smallest c that won
    lowest: Tensor  # objective in this round
    before: Tensor  # the same when last compared
    won: Tensor  # in this round
    smallest: Tensor  # success when the last round ended

    def __getitem__(self, rows: Tensor) -> Search:
        return Search(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class CW(Attack):
    name = "cw"
    reference = "https://arxiv.org/abs/1608.04644"
    threats = frozenset({"l2"})
    needs = Access.GRADIENTS
    minimizes = True
    trial = {"rounds": 3, "steps": 60}

    rounds: int = at_least(1, default=5)  # values of c
    steps: int = at_least(1, default=200)  # of Adam with each
    rate: float = at_least(0, default=0.1)
    constant: float = at_least(0, default=0.0)  # the first c; 0: from the first gradient
    candidates: int = at_least(1, default=9)  # rival classes whose boundaries are compared at the start
    kappa: float = at_least(0, default=0.0)  # the lead that a success must have, in logits
    variables: str = one_of("tanh", "projected", "clipped")
    bisections: int = at_least(0, default=4)

    def passes(self, classes: int) -> int:
        return 2 + (self.constant == 0) + self.rounds * self.steps + self.bisections + LANDING

    def perturb(self, problem: Problem) -> Tensor:
        problem.margin = MARGIN + self.kappa
        search = self._begun(problem)
        leg = -(-self.steps // LEGS)
        for _ in range(self.rounds * -(-self.steps // leg)):
            if len(search.of) == 0 or problem.done:
                break
            for _ in range(leg):
                search = self._stepped(problem, search)
            search = self._turned(problem, search)
        return problem.project(ended(problem, self.bisections))

    def _begun(self, problem: Problem) -> Search:
        of = problem.active
        p = problem.start()[of]
        goal = problem.goal[of]
        rival = goal.labels if goal.targeted else nearest_rival(problem, p, of, self.candidates)
        c = p.new_full((len(of),), self.constant)
        if self.constant == 0:
            probe = problem.probe(p, headway, of, aim=rival)
            x, slope = problem.images[of], probe.gradient.nan_to_num(0, 0, 0)
            out = (x <= 0) & (slope < 0) | (x >= 1) & (slope > 0)
            behind = self.kappa - headway(replace(goal, aim=rival), probe.logits)
            needed = 2 * behind / slope.masked_fill(out, 0).flatten(1).square().sum(1)
            c = (3 * needed).nan_to_num(1, LARGEST).clamp(1 / LARGEST, LARGEST)
        none, infinite = torch.zeros_like(c), torch.full_like(c, torch.inf)
        still = torch.zeros_like(p)
        return Search(
            of=of,
            rival=rival,
            w=self._variables(problem.images[of], p),
            momentum=still,
            spread=still,
            rate=torch.full_like(c, self._first_rate),
            turn=none,
            round=none,
            c=c,
            lower=none,
            upper=infinite,
            lowest=infinite,
            before=infinite,
            won=torch.zeros_like(of, dtype=torch.bool),
            smallest=infinite,
        )

    @property
    def _first_rate(self) -> float:
        # a tanh variable moves a grey pixel by half of its step, and a dark one by far less
        return self.rate if self.variables == "tanh" else self.rate / 10

    def _variables(self, x: Tensor, p: Tensor) -> Tensor:
        if self.variables != "tanh":
            return p
        bent = (2 * (x + p) - 1) * (1 - INNER)
        # `atanh` rounds otherwise in a processor's vectors than beside them, and would depend on the company
        return ((1 + bent) / (1 - bent)).log() / 2

    def _stepped(self, problem: Problem, search: Search) -> Search:
        """One step of Adam (Kingma and Ba, 2015) on every row."""
        x, w, c = problem.images[search.of], search.w, wide(search.c, search.w)
        if self.variables == "tanh":
            bent = w.tanh()
            p = ((bent + 1) / 2 - x).clamp(-x, 1 - x)  # a rounding outside
            far, chain = p, (1 - bent.square()) / 2
        else:
            p = w.clamp(-x, 1 - x)
            far, chain = w, (p == w).to(w.dtype)
        wanted = problem.margin + MARGIN

        def hinge(goal: Goal, logits: Tensor) -> Tensor:
            return headway(goal, logits).clamp_max(wanted)

        probe = problem.probe(p, hinge, search.of, aim=search.rival)
        goal = problem.goal[search.of]
        margin = headway(replace(goal, aim=search.rival), probe.logits)
        objective = far.flatten(1).square().sum(1) + search.c * (wanted - margin).clamp_min(0)
        if self.variables == "tanh":
            slope = (2 * far - c * probe.gradient) * chain
        else:
            slope = 2 * far - c * probe.gradient * chain
        slope = slope.nan_to_num(0, 0, 0)
        turn = search.turn + 1
        momentum = torch.lerp(slope, search.momentum, BETA[0])
        spread = torch.lerp(slope.square(), search.spread, BETA[1])
        # by `exp`: powers round as `atanh` does
        fresh, settled = (1 - (turn * math.log(beta)).exp() for beta in BETA)
        rate = search.rate / fresh
        w = w - wide(rate, w) * momentum / ((spread / wide(settled, w)).sqrt() + 1e-8)
        return replace(
            search,
            rival=goal.labels if goal.targeted else rival_after(goal, probe.logits, search.rival),
            w=w.clamp(-x, 1 - x) if self.variables == "projected" else w,
            momentum=momentum,
            spread=spread,
            turn=turn,
            lowest=torch.fmin(search.lowest, objective),
            won=search.won | (margin > problem.margin),
        )

    def _turned(self, problem: Problem, search: Search) -> Search:
        """The next c where a round is over; without the rows that have had all rounds."""
        of, w, c = search.of, search.w, search.c
        stuck = ~(search.lowest < (1 - STUCK) * search.before)
        rate = torch.where(stuck, FINER * search.rate, search.rate)
        over = (search.turn >= self.steps) | (rate < FINEST * self._first_rate) | (stuck & ~search.won)
        upper = torch.where(over & search.won, torch.minimum(search.upper, c), search.upper)
        lower = torch.where(over & ~search.won, torch.maximum(search.lower, c), search.lower)
        further = torch.where(upper.isinf(), (10 * c).clamp_max(LARGEST), (lower + upper) / 2)
        found, best = problem.found[of], problem.best[of]
        size = problem.threat.size(best, best).to(c.dtype).masked_fill(~found, torch.inf)
        last = over & search.won & ~(size < (1 - GAIN) * search.smallest)
        start = torch.where(wide(found, w), self._variables(problem.images[of], best), w)
        turned = replace(
            search,
            w=torch.where(wide(over, w), start, w),
            momentum=search.momentum.masked_fill(wide(over, w), 0),
            spread=search.spread.masked_fill(wide(over, w), 0),
            rate=rate.masked_fill(over, self._first_rate),
            turn=search.turn.masked_fill(over, 0),
            round=search.round + over.to(c.dtype),
            c=torch.where(over, further, c),
            lower=lower,
            upper=upper,
            lowest=search.lowest.masked_fill(over, torch.inf),
            before=search.lowest.masked_fill(over, torch.inf),
            won=search.won & ~over,
            smallest=torch.where(over, size, search.smallest),
        )
        return turned[((turned.round < self.rounds) & ~last).nonzero().squeeze(1)]


def headway(goal: Goal, logits: Tensor) -> Tensor:
    """The margin: of the class aimed at, and when the label is to be left, of the rival over it."""
    return goal.margin(logits) if goal.targeted else lead(goal, logits)


def wide(row: Tensor, like: Tensor) -> Tensor:
    """One number a row, shaped so that it multiplies images."""
    return row.view(-1, *[1] * (like.ndim - 1))
