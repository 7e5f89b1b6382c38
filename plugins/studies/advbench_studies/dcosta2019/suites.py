"""What is run: digits in l∞, under turns and by transport, photos in l∞, and one network trained in every ball."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advbench import L2, Level, Linf, RotateShift, Wasserstein
from advbench_studies.dcosta2019.amounts import AMOUNTS, Amounts
from advbench_studies.dcosta2019.networks import (
    AUGMENTED_30,
    AUGMENTED_40,
    BINARIZED,
    IN_LINF,
    LITE,
    MADRY,
    OURS,
    PLAIN,
    PUBLISHED,
    TRANSPORT,
    VANILLA,
    Network,
)

LEVELS = (12, 13, 14, 15, 16, 40)
"""Grey levels of table 1 and of section 5.2."""
CARRIED = 15
"""Grey levels of figure 19, whose perturbations are put on other digits."""
COMPASS = 635
TO_FIVE, TO_COMPASS = "class=5", f"class={COMPASS}"
ADAM = "pgd(steps=100, start=image, rule=adam)"
FASTER = "pgd(steps=100, start=image, rule=adam, rate=0.01)"
"""At a rate of 0.001 a hundred steps end at 25 of 255 at most, inside the ball of 40."""
WORST_OF_TEN, ENGSTROM_GRID = "worst-of-k", "grid"
FGSM = "fgsm"
SMALL, LARGE = Linf(0.005), Linf(2 / 255)

GRIDS = (
    (RotateShift(degrees=20, pixels=3), "grid(angles=81, shifts=7)"),
    (RotateShift(degrees=10, pixels=3), "grid(angles=41, shifts=7)"),
    (RotateShift(degrees=5, pixels=1), "grid(angles=21, shifts=3)"),
)
TURNS = RotateShift(degrees=30, pixels=3)
MOVES = Wasserstein(eps=1, kernel=5, power=2)
MADRY_RADII = (0.1, 0.2, 0.3, 0.35, 0.4)


def grey(levels: int) -> Linf:
    return Linf(levels / 255)


def photo_attack(level: Level) -> str:
    amounts = AMOUNTS[level]
    return f"pgd(steps={amounts.photo_steps}, start=image, rule=adam{amounts.photo_rate})"


def photo_strongest(level: Level) -> str:
    return f"apgd(steps={AMOUNTS[level].photo_steps})"


def all_suites(level: Level) -> tuple[Mapping[str, Any], ...]:
    amounts = AMOUNTS[level]
    return (*photos(level, amounts), *digits(amounts), *transport(amounts), *turns(amounts), *trained(amounts))


def suite(name: str, networks: tuple[Network, ...], examples: int, threats: list[Any], **more: Any) -> dict[str, Any]:
    """One of networks that are each behind every defense named."""
    return {
        "name": name,
        "data": networks[0].dataset,
        "models": list(dict.fromkeys(one.model for one in networks)),
        "defenses": list(dict.fromkeys(one.defense for one in networks)),
        "threats": threats,
        "examples": examples,
        "stop": "first",
        **more,
    }


def ball(threat: Any, *attacks: str, **more: Any) -> dict[str, Any]:
    return {threat.name: {**threat.params(), "attacks": list(attacks), **more}}


def photos(level: Level, amounts: Amounts) -> tuple[dict[str, Any], ...]:
    """The attacks end where the loss is highest, so that the perturbation can be carried elsewhere."""
    directed = ball(LARGE, photo_attack(level), photo_strongest(level), goals=[TO_COMPASS])
    return (suite("photos", (LITE,), amounts.photos, [ball(SMALL, FGSM), directed], stop="end"),)


def digits(amounts: Amounts) -> tuple[dict[str, Any], ...]:
    directed = [ball(grey(k), ADAM, *([FASTER] if k == LEVELS[-1] else [])) for k in LEVELS]
    strong = [ball(grey(k), amounts.strongest) for k in (LEVELS[0], LEVELS[-1])]
    madry = [ball(Linf(eps), "pgd") for eps in MADRY_RADII]
    return (
        suite("digits", PUBLISHED, amounts.digits, directed, goals=[TO_FIVE], stop="end"),
        suite("digits-ours", (PLAIN,), amounts.digits, directed, goals=[TO_FIVE], stop="end"),
        suite("digits-strongest", PUBLISHED, amounts.strong, strong),
        suite("digits-universal", (VANILLA,), amounts.digits, [ball(grey(CARRIED), amounts.universal)]),
        suite("madry", (MADRY,), amounts.digits, madry),
        suite("madry-ours", (PLAIN, IN_LINF), amounts.digits, madry),
    )


def transport(amounts: Amounts) -> tuple[dict[str, Any], ...]:
    strong = ball(MOVES, amounts.sinkhorn, amounts.transport_pgd, amounts.frank_wolfe)
    both = amounts.sinkhorn, amounts.transport_pgd
    others = [Wasserstein(eps=eps, kernel=5, power=2) for eps in amounts.sweep]
    sweep = [strong, *(ball(threat, *both) for threat in others if threat != MOVES)]
    example = [ball(Wasserstein(eps=0.4, kernel=5, power=2), amounts.transport_pgd), ball(Linf(0.3), "pgd")]
    return (
        suite("transport", PUBLISHED, amounts.moved, sweep),
        suite("transport-binarised", (BINARIZED,), amounts.moved, [strong]),
        suite("figure-6", (PLAIN,), min(amounts.moved, 8), example),
    )


def turns(amounts: Amounts) -> tuple[dict[str, Any], ...]:
    grids = [ball(threat, grid) for threat, grid in GRIDS]
    engstrom = [ball(TURNS, WORST_OF_TEN, amounts.first_order, ENGSTROM_GRID)]
    return (
        suite("turns", PUBLISHED, amounts.turned, grids),
        suite("strongest-turns", (VANILLA, TRANSPORT), amounts.worst, [ball(*GRIDS[0])], stop="end"),
        suite("engstrom", (PLAIN, IN_LINF, AUGMENTED_30, AUGMENTED_40), amounts.turned, engstrom),
    )


def trained(amounts: Amounts) -> tuple[dict[str, Any], ...]:
    """The trilemma: one architecture trained in each ball and attacked in each."""
    inside = [ball(Linf(eps), amounts.strongest) for eps in (0.1, 0.3)]
    inside.append(ball(L2(1.5), amounts.strongest, *amounts.minimal))
    inside.append(ball(MOVES, amounts.transport_pgd, amounts.frank_wolfe, examples=amounts.moved))
    inside += [ball(*one, examples=amounts.turned) for one in (GRIDS[0], GRIDS[2])]
    return (suite("balls", OURS, amounts.strong, inside),)
