"""The analyses of the study, each made in one place: numbers are bound to them, claims judged by them."""

from __future__ import annotations

from advbench import Analysis, Level, Rates
from advbench_studies.dcosta2019.amounts import AMOUNTS
from advbench_studies.dcosta2019.balls import Balls
from advbench_studies.dcosta2019.carried import Carried
from advbench_studies.dcosta2019.clean import Clean
from advbench_studies.dcosta2019.cliffs import Cliffs
from advbench_studies.dcosta2019.curves import Curves
from advbench_studies.dcosta2019.examples import Gallerist
from advbench_studies.dcosta2019.heat import Heat
from advbench_studies.dcosta2019.networks import (
    AUGMENTED_30,
    AUGMENTED_40,
    BINARIZED,
    DIGITS,
    IN_L2,
    IN_LINF,
    IN_TRANSPORT,
    IN_TURNS,
    LITE,
    PHOTOS,
    PLAIN,
    ROBUST,
    TRANSPORT,
    VANILLA,
    Network,
)
from advbench_studies.dcosta2019.optimisers import Optimisers
from advbench_studies.dcosta2019.seven import Seven
from advbench_studies.dcosta2019.sizes import Sizes
from advbench_studies.dcosta2019.stability import Stability
from advbench_studies.dcosta2019.structure import Structure
from advbench_studies.dcosta2019.suites import (
    ADAM,
    CARRIED,
    COMPASS,
    ENGSTROM_GRID,
    LARGE,
    TO_COMPASS,
    TO_FIVE,
    grey,
    photo_attack,
    photo_strongest,
)
from advbench_studies.dcosta2019.turns import StrongestTurns, Survivors

RATES = {
    suite: Rates(suite=suite)
    for suite in (
        "photos",
        "digits",
        "digits-ours",
        "digits-strongest",
        "digits-universal",
        "transport",
        "transport-binarised",
        "turns",
        "engstrom",
    )
}
SEVEN = Seven(target=VANILLA.label, attack=ADAM)
SEVEN_OURS = Seven(suite="digits-ours", target=PLAIN.label, attack=ADAM)
L_INF = Curves(suite="digits", times=255)
MADRY_CURVE, MADRY_OURS = Curves(suite="madry"), Curves(suite="madry-ours")
FOOLING = Curves(suite="transport", shown="fooled")
STRONGEST_TURNS = StrongestTurns()
SURVIVORS = Survivors(one=VANILLA.label, other=TRANSPORT.label)
DIRECTED_GAIN = Balls(suites=("digits",), base=VANILLA.label, goal=TO_FIVE, attack=ADAM)
STRONGEST_L_INF = Balls(suites=("digits-strongest",), base=VANILLA.label)
TURN_GAIN = Balls(suites=("turns",), base=VANILLA.label)
STRONGEST_TRANSPORT = Balls(suites=("transport",), base=VANILLA.label)
GRID_GAIN = Balls(suites=("engstrom",), base=PLAIN.label, attack=ENGSTROM_GRID)
ENGSTROM_GAIN = Balls(suites=("engstrom",), base=PLAIN.label)
TRILEMMA = Balls(suites=("balls",), base=PLAIN.label)
CARRIED_DIGITS = Carried(
    dataset=DIGITS,
    model=VANILLA.model,
    target=VANILLA.label,
    suite="digits",
    attack=ADAM,
    goal=TO_FIVE,
    threat=grey(CARRIED).label,
    mirrored=False,
)
PICTURES_6 = Gallerist(suite="figure-6")
PICTURES_19 = Gallerist(suite="digits", target=VANILLA.label, attack=ADAM, shown=1)
PICTURES_20 = Gallerist(suite="digits", target=TRANSPORT.label, attack=ADAM, shown=1)


def clean(network: Network) -> Clean:
    return Clean(dataset=network.dataset, model=network.model, defense=network.defense)


def heat(network: Network) -> Heat:
    return Heat(model=network.model, defense=network.defense)


def sizes(level: Level) -> Sizes:
    return Sizes(count=1 if level == "smoke" else 20)


def cliffs(level: Level, network: Network, rule: str = "adam") -> Cliffs:
    """Adam's hundred steps of 0.001 end at 25 of 255 at most; the steps of `sign` grow with the radius."""
    amounts = AMOUNTS[level]
    last, rate = (24.0, 0.001) if rule == "adam" else (64.0, 0.025)
    return Cliffs(
        model=network.model,
        last=last,
        ratio=amounts.ratio,
        rule=rule,
        rate=rate,
        count=8 if level == "smoke" else 200,
    )


def photo_cliffs(level: Level) -> Cliffs:
    amounts = AMOUNTS[level]
    return Cliffs(
        dataset=PHOTOS,
        model=LITE.model,
        towards=COMPASS,
        first=0.1,
        last=2.0,
        ratio=amounts.photo_ratio,
        steps=amounts.photo_steps,
        count=amounts.tried_photos,
        at_once=8,
    )


def photo_optimisers(level: Level) -> Optimisers:
    amounts = AMOUNTS[level]
    return Optimisers(
        dataset=PHOTOS,
        model=LITE.model,
        towards=COMPASS,
        eps=LARGE.eps,
        steps=amounts.photo_steps,
        count=amounts.tried_photos,
        tuned=amounts.tuned,
    )


def digit_optimisers(level: Level) -> Optimisers:
    return Optimisers(
        model=PLAIN.model,
        eps=grey(CARRIED).eps,
        steps=100,
        count=8 if level == "smoke" else 200,
        tuned=(0.1, 10.0, 100.0),
    )


def stability(level: Level, attack: str = "") -> Stability:
    asked = 1 if level == "smoke" else 3
    severities = (1.0,) if level == "smoke" else (0.25, 0.5, 1.0)
    return Stability(
        attack=attack or photo_attack(level),
        goal=TO_COMPASS,
        threat=LARGE.label,
        draws=asked,
        severities=severities,
    )


def carried_photos(level: Level, attack: str = "") -> Carried:
    return Carried(attack=attack or photo_attack(level), goal=TO_COMPASS, threat=LARGE.label)


def structure(level: Level) -> Structure:
    return Structure(attack=photo_attack(level), goal=TO_COMPASS, threat=LARGE.label)


def all_analyses(level: Level) -> tuple[Analysis, ...]:
    networks = (VANILLA, TRANSPORT, ROBUST, BINARIZED, PLAIN, IN_LINF, IN_TRANSPORT, AUGMENTED_30, AUGMENTED_40)
    return (
        *RATES.values(),
        *(clean(network) for network in networks),
        photo_optimisers(level),
        digit_optimisers(level),
        MADRY_CURVE,
        MADRY_OURS,
        PICTURES_6,
        FOOLING,
        STRONGEST_TRANSPORT,
        GRID_GAIN,
        ENGSTROM_GAIN,
        *(heat(network) for network in (PLAIN, IN_LINF, IN_L2, IN_TURNS)),
        *(stability(level, attack) for attack in (photo_attack(level), photo_strongest(level))),
        *(carried_photos(level, attack) for attack in (photo_attack(level), photo_strongest(level))),
        structure(level),
        photo_cliffs(level),
        SEVEN,
        SEVEN_OURS,
        *(cliffs(level, VANILLA, rule) for rule in ("adam", "sign")),
        cliffs(level, TRANSPORT),
        L_INF,
        STRONGEST_L_INF,
        CARRIED_DIGITS,
        PICTURES_19,
        PICTURES_20,
        TURN_GAIN,
        DIRECTED_GAIN,
        SURVIVORS,
        STRONGEST_TURNS,
        sizes(level),
        TRILEMMA,
    )
