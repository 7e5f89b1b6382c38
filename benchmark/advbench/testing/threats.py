"""What every ball must do: attacks climb by it, and the referee believes what it says of sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.geometry import Geometry
from advbench.plugins.ball_form import wrong_form, wrong_sizes
from advbench.problem.moves import clamps
from advbench.testing.check import Check, demand
from advbench.testing.stage import images, tried
from advbench.threats import Threat
from advbench.threats.membership import measure

CLOSE = 1e-5
"""What float64 may differ by, relative to the numbers at hand."""
CHANGED = 1e-6
"""A pixel that has moved by more is another pixel."""
SINGLES = 16
"""How many single numbers of a row are changed, to find one that costs nothing."""
RADII = (1.0, 0.1)
"""Shares of the ball's own radius at which it is tried."""

Trial = Callable[[Threat], None]


def threat_checks(ball: Threat) -> Iterator[Check]:
    """Tried at its own radius, a tenth of it and none; the core's own at radii that fit the kit's small images."""
    threat = tried(ball)
    for what, trial in _trials(threat):
        yield Check(ball.label, what, partial(trial, threat))


def _trials(threat: Threat) -> Iterator[tuple[str, Trial]]:
    yield "keeps-form", keeps_form
    yield "says-what-it-is", says_what_it_is
    yield "changes-nothing-by-identity", changes_nothing_by_identity
    yield "changes-nothing-at-radius-0", changes_nothing_at_radius_0
    yield "has-size-0-only-without-change", has_size_0_only_without_change
    yield "starts-inside", starts_inside
    yield "starts-by-draws-alone", starts_by_draws_alone
    yield "projects-inside", projects_inside
    yield "projects-once", projects_once
    yield "clamps-between-its-bounds", clamps_between_its_bounds
    if threat.convex:
        yield "projects-to-the-nearest", projects_to_the_nearest
        yield "brings-no-two-further-apart", brings_no_two_further_apart
    yield "does-not-depend-on-the-batch", does_not_depend_on_the_batch
    yield "leaves-inputs-alone", leaves_inputs_alone
    yield "is-stored-without-loss", is_stored_without_loss
    yield "measures-by-definition", measures_by_definition
    if Geometry.ASCENT in threat.offers:
        yield "steps-uphill", steps_uphill
    if Geometry.PIXELS in threat.offers:
        yield "adds-pixels", adds_pixels
    if threat.shareable:
        yield "shrinks-inside", shrinks_inside
    if threat.unbounded:
        yield "serves-an-infinite-radius", serves_an_infinite_radius


@dataclass(frozen=True)
class Case:
    """Images, and perturbations of them from near to far."""

    what: str
    x: Tensor
    draws: Draws

    def candidates(self, threat: Threat) -> list[Tensor]:
        """Random ones inside, what is beyond them, noise, and changes of one number each."""
        still = threat.identity(self.x)
        start = threat.start(self.x, self.draws)
        noise = self.draws.normal(*still.shape[1:], dtype=still.dtype)
        near = [start, *(still + factor * (start - still) for factor in (0.5, 3.0))]
        return [*near, *(still + scale * noise for scale in (0.1, 10.0)), self.single(threat)]

    def single(self, threat: Threat) -> Tensor:
        """The identity but for one number of each row."""
        still = threat.identity(self.x).flatten(1)
        place = self.draws.integers(still.shape[1], 1)
        changed = still.scatter_add(1, place, self.draws.sign(1, dtype=still.dtype))
        return changed.view_as(threat.identity(self.x))


def cases(dtype: torch.dtype = torch.float32) -> Iterator[Case]:
    """Grey and colour, square and oblong, one image, and images with no room on one side."""
    scenes = {
        "six grey images": images(6, (1, 8, 8)),
        "three oblong colour images": images(3, (3, 7, 10)),
        "one image": images(1, (1, 8, 8), first=9),
        "a black and a white image": torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)]),
    }
    for what, x in scenes.items():
        yield Case(what, x.to(dtype), _draws(len(x)))


def _draws(count: int, seed: int = 0) -> Draws:
    return Draws(seed, "kit/threats", torch.arange(count) + 7)


def keeps_form(threat: Threat) -> None:
    """Shapes, kinds of numbers and finite values of all that is asked of it."""
    for case in (*cases(), *cases(torch.float64)):
        problem = wrong_form(threat, case.x, threat.start(case.x, case.draws))
        demand(not problem, f"{problem} ({case.what})")
        for p in case.candidates(threat):
            problem = wrong_form(threat, case.x, p)
            demand(not problem, f"{problem} ({case.what})")


def _sizes(threat: Threat, x: Tensor, p: Tensor, what: str) -> Tensor:
    sizes = threat.size(x, p)
    problem = wrong_sizes("size", sizes, len(x))
    demand(not problem, f"{problem} ({what})")
    return sizes


def says_what_it_is(threat: Threat) -> None:
    nearer = threat.at(threat.eps / 2)
    demand(nearer.eps == threat.eps / 2, f"`at({threat.eps / 2:g})` has the radius {nearer.eps:g}")
    demand(nearer.family == threat.family, "`family` changes with the radius; leave `eps` out of it")
    demand(threat.eps == 0 or nearer.radius != threat.radius, "`radius` is the same at half of eps; write eps in it")
    x = images(2, (1, 8, 8))
    p = threat.project(x, threat.start(x, _draws(2)))
    demand(len(threat.words(x, p)) in (0, 2), "`words` gives neither one text for each perturbation nor none")
    moved = threat.moved(x, p)
    demand(moved is None or moved.shape == (2, 2, 8, 8), "`moved` gives neither (N, 2, H, W) nor None")
    demand(isinstance(threat.why_not((1, 8, 8)), str | None), "`why_not` gives neither a reason nor None")


def changes_nothing_by_identity(threat: Threat) -> None:
    for case in cases():
        still = threat.identity(case.x)
        moved = float((threat.apply(case.x, still) - case.x).abs().max())
        demand(moved <= CHANGED, f"`identity` moves pixels of {case.what} by {moved:.3g}")
        size = float(_sizes(threat, case.x, still, case.what).max())
        demand(size == 0, f"`identity` has the size {size:.3g} for {case.what}; no change has size 0")
        _inside(threat, case, still, "`identity`")


def changes_nothing_at_radius_0(threat: Threat) -> None:
    nothing = threat.at(0.0)
    for case in cases():
        for p in case.candidates(threat):
            for name, q in (("project", nothing.project(case.x, p)), ("start", nothing.start(case.x, case.draws))):
                moved = float((nothing.apply(case.x, q) - case.x).abs().max())
                demand(moved <= CHANGED, f"`{name}` at radius 0 moves pixels of {case.what} by {moved:.3g}")


def has_size_0_only_without_change(threat: Threat) -> None:
    """A size of 0 belongs to the unchanged image alone; otherwise an image could be changed for nothing."""
    for case in cases():
        for inner in (threat.at(share * threat.eps) for share in (*RADII, 1e-3)):
            singles = (case.single(inner) for _ in range(SINGLES))
            for p in (*case.candidates(inner), *singles):
                q = inner.project(case.x, p)
                moved = (inner.apply(case.x, q) - case.x).abs().flatten(1).amax(1)
                free = float(torch.where(_sizes(inner, case.x, q, case.what) == 0, moved, 0).max())
                demand(free <= CHANGED, f"pixels of {case.what} move by {free:.3g} at size 0")


def starts_inside(threat: Threat) -> None:
    for case in cases():
        for inner in _radii(threat):
            _inside(inner, case, inner.start(case.x, case.draws), "`start`")


def starts_by_draws_alone(threat: Threat) -> None:
    x, before = images(4, (1, 8, 8)), torch.get_rng_state()
    first, again = threat.start(x, _draws(4)), threat.start(x, _draws(4))
    demand(torch.equal(before, torch.get_rng_state()), "`start` draws from torch's generator; draw from `draws` alone")
    demand(torch.equal(first, again), "`start` gives another perturbation for the same draws; draw from them alone")
    part = threat.start(x[1:3], _draws(4).subset(torch.tensor([1, 2])))
    demand(torch.equal(first[1:3], part), "`start` gives another perturbation in other company; draw by the example")
    if Geometry.START in threat.offers and threat.eps > 0:
        other = threat.start(x, _draws(4, seed=1))
        demand(
            not torch.equal(first, other), "`start` gives the same under another seed, and Geometry.START is offered"
        )


def projects_inside(threat: Threat) -> None:
    for case in cases():
        for inner in (*_radii(threat), threat.at(0.0)):
            for p in case.candidates(threat):
                _inside(inner, case, inner.project(case.x, p), "`project`")


def projects_once(threat: Threat) -> None:
    """What is inside is its own nearest member."""
    for case in cases(torch.float64):
        for inner in _radii(threat):
            for p in case.candidates(threat):
                once = inner.project(case.x, p)
                moved = _length(inner.project(case.x, once) - once)
                limit = CLOSE * (1 + _length(once))
                worst = float((moved - limit).max())
                demand(worst <= 0, f"`project` moves what it has projected, {case.what}, by {float(moved.max()):.3g}")


def clamps_between_its_bounds(threat: Threat) -> None:
    """A ball that names bounds is projected onto by a clamp between them, made once for all steps."""
    for case in cases():
        for inner in (*_radii(threat), threat.at(0.0)):
            bounds = inner.bounds(case.x)
            if bounds is None or not clamps(inner):
                continue
            for p in case.candidates(threat):
                same = torch.equal(inner.project(case.x, p), p.clamp(*bounds))
                demand(same, f"`project` is no clamp between `bounds`, {case.what}; leave `bounds` out")


def projects_to_the_nearest(threat: Threat) -> None:
    """In a convex set every member lies beyond the plane through the nearest point, as seen from where p was."""
    for case in cases(torch.float64):
        for inner in _radii(threat):
            candidates = case.candidates(threat)
            members = [inner.project(case.x, p) for p in candidates]
            for p, y in zip(candidates, members, strict=True):
                towards = inner.project(case.x, y + inner.eps * inner.steepest(case.x, p - y))
                for q in (*members, towards):
                    along = ((p - y) * (q - y)).flatten(1).sum(1)
                    limit = CLOSE * (1 + _length(p - y)) * (1 + _length(q - y))
                    nearest = bool((along <= limit).all())
                    demand(
                        nearest, f"`project` passes by nearer members, {case.what}; find the nearest, or no `convex`"
                    )


def brings_no_two_further_apart(threat: Threat) -> None:
    for case in cases(torch.float64):
        for inner in _radii(threat):
            candidates = case.candidates(threat)
            members = [inner.project(case.x, p) for p in candidates]
            for p, y in zip(candidates, members, strict=True):
                for q, z in zip(candidates, members, strict=True):
                    apart = _length(y - z) <= _length(p - q) * (1 + CLOSE) + CLOSE
                    demand(bool(apart.all()), f"`project` brings two further apart, {case.what}; no `convex` then")


def does_not_depend_on_the_batch(threat: Threat) -> None:
    remedy = "compute every row from that row alone"
    for case in list(cases())[:2]:
        order = torch.arange(len(case.x)).flip(0)
        for p in case.candidates(threat):
            q = threat.project(case.x, p)
            whole = {"project": q, "steepest": threat.steepest(case.x, p)}
            whole |= {"size": threat.size(case.x, q), "apply": threat.apply(case.x, q)}
            for rows in (order, order[:1]):
                x = case.x[rows]
                part = {"project": threat.project(x, p[rows]), "steepest": threat.steepest(x, p[rows])}
                part |= {"size": threat.size(x, q[rows]), "apply": threat.apply(x, q[rows])}
                for name, given in part.items():
                    same = torch.equal(given, whole[name][rows])
                    demand(same, f"`{name}` gives {case.what} something else in other company; {remedy}")


def leaves_inputs_alone(threat: Threat) -> None:
    for case in cases():
        x = case.x.clone()
        for p in case.candidates(threat):
            kept = p.clone()
            for name in ("project", "steepest", "apply", "size", "coordinates", "pack"):
                getattr(threat, name)(x, p)
                demand(torch.equal(p, kept) and torch.equal(x, case.x), f"`{name}` writes into what it is given")


def is_stored_without_loss(threat: Threat) -> None:
    for case in cases():
        for p in case.candidates(threat):
            q = threat.project(case.x, p)
            again = threat.unpack(case.x, threat.pack(case.x, q))
            demand(torch.equal(q, again), f"`unpack` does not give back what `pack` was given, {case.what}")


def measures_by_definition(threat: Threat) -> None:
    """Against the author's slow and plain answer, where there is one."""
    for case in cases(torch.float64):
        for p in case.candidates(threat):
            q = threat.project(case.x, p)
            plain = threat.size_by_definition(case.x, q)
            if plain is None:
                continue
            wrong = (threat.size(case.x, q) - plain).abs() > CLOSE * (1 + plain.abs())
            demand(not bool(wrong.any()), f"`size` is not what `size_by_definition` says, {case.what}")


def steps_uphill(threat: Threat) -> None:
    for case in cases():
        gradient = case.draws.normal(*threat.identity(case.x).shape[1:], dtype=case.x.dtype)
        flat = threat.steepest(case.x, torch.zeros_like(gradient))
        demand(not bool(flat.any()), f"`steepest` steps where the gradient is 0, {case.what}")
        spoiled = threat.steepest(case.x, torch.full_like(gradient, torch.nan))
        demand(bool(spoiled.isfinite().all()), f"`steepest` answers a gradient of NaN with one, {case.what}")
        rise = (threat.steepest(case.x, gradient) * gradient).flatten(1).sum(1)
        demand(bool((rise >= 0).all()), f"`steepest` leads downhill, {case.what}; look at its signs")
    x = images(6, (1, 8, 8))
    p = threat.start(x, _draws(6)).requires_grad_()
    (slope,) = torch.autograd.grad(threat.apply(x, p).square().sum(), p, allow_unused=True)
    right = slope is not None and bool(slope.isfinite().all()) and bool(slope.any())
    demand(right, "`apply` passes no gradient on to the perturbation, and Geometry.ASCENT is offered")


def adds_pixels(threat: Threat) -> None:
    for case in cases():
        for p in case.candidates(threat):
            q = threat.project(case.x, p)
            added = q.shape == case.x.shape and float((threat.apply(case.x, q) - case.x - q).abs().max()) <= CHANGED
            demand(added, "`apply` does more than add perturbations of the image's shape; don't offer Geometry.PIXELS")


def shrinks_inside(threat: Threat) -> None:
    for case in cases():
        for p in case.candidates(threat):
            beyond = float((threat.size(case.x, threat.shrink(p)) - threat.eps).max())
            demand(beyond <= threat.tolerance * max(1.0, threat.eps), f"`shrink` leaves a size {beyond:.3g} beyond eps")


def serves_an_infinite_radius(threat: Threat) -> None:
    wide = threat.at(torch.inf)
    for case in cases():
        for p in (wide.start(case.x, case.draws), *(wide.project(case.x, p) for p in case.candidates(threat))):
            _inside(wide, case, p, "at an infinite radius, `start` or `project`")


def _radii(threat: Threat) -> list[Threat]:
    return [threat.at(share * threat.eps) for share in RADII]


def _inside(threat: Threat, case: Case, p: Tensor, what: str) -> None:
    """Whether perturbations are inside the ball, by the referee's own measure."""
    rendered = threat.apply(case.x, p)
    member = measure(threat, case.x.double(), p.double(), rendered.double())
    if bool(member.inside.all()):
        return
    beyond = {"the ball": member.beyond_ball, "[0, 1]": member.beyond_box, "its own form": member.beyond_coordinates}
    where, by = max(((name, float(value.max())) for name, value in beyond.items()), key=lambda pair: pair[1])
    demand(False, f"{what} at radius {threat.radius} is outside of {where} by {by:.3g}, {case.what}")


def _length(p: Tensor) -> Tensor:
    length: Tensor = p.flatten(1).norm(dim=1)
    return length
