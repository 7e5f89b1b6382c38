"""Our number beside each published one, or why there is none."""

from __future__ import annotations

from collections.abc import Callable

from advbench import Absent, Bound, Level, Number, rate_name
from advbench_studies.dcosta2019.amounts import AMOUNTS
from advbench_studies.dcosta2019.analyses import (
    L_INF,
    MADRY_CURVE,
    RATES,
    SEVEN,
    STRONGEST_TURNS,
    carried_photos,
    clean,
    sizes,
    stability,
)
from advbench_studies.dcosta2019.clean import RIGHT
from advbench_studies.dcosta2019.curves import curve_name, point_name
from advbench_studies.dcosta2019.networks import (
    AUGMENTED_30,
    AUGMENTED_40,
    BINARIZED,
    DIGITS,
    IN_LINF,
    MADRY,
    PLAIN,
    ROBUST,
    TRANSPORT,
    VANILLA,
    Network,
)
from advbench_studies.dcosta2019.sizes import SHIFT
from advbench_studies.dcosta2019.suites import (
    ADAM,
    ENGSTROM_GRID,
    GRIDS,
    MOVES,
    TO_FIVE,
    TURNS,
    WORST_OF_TEN,
    grey,
)

SETTING = Absent("a setting of the report, not a result; ours is the same")
CIFAR = Absent("CIFAR-10: only parts of it are here, and no network of the cited papers")
IMAGENET = Absent(
    "ImageNet: its training images are not here, so no network can be trained on it as the cited paper did"
)
Binding = Bound | Absent


def binding(number: Number, level: Level) -> Binding:
    if number.place in TABLES:
        return TABLES[number.place](number, level)
    name = str(number.columns.get("name", ""))
    if name == "iterations" and number.place in ("Figure 3", "Figure 12"):
        steps = AMOUNTS[level].photo_steps
        return Absent(f"a setting of the report, not a result; {steps} at this level")
    return figures(level).get((number.place, name), SETTING)


def figure_7(number: Number, level: Level) -> Binding:
    columns = number.columns
    if columns["dataset"] != "MNIST":
        return CIFAR
    network = {
        "Standard": VANILLA,
        "l_inf robust": ROBUST,
        "Wasserstein adv training": TRANSPORT,
        "Binarization": BINARIZED,
    }[columns["network"]]
    if columns["attack"] == "none":
        return Bound(clean(network), RIGHT)
    suite = "transport-binarised" if network is BINARIZED else "transport"
    return right(suite, network, AMOUNTS[level].sinkhorn, MOVES.label)


def figure_10(number: Number, level: Level) -> Binding:
    columns = number.columns
    if columns["dataset"] != "MNIST":
        return CIFAR if columns["dataset"] == "CIFAR10" else IMAGENET
    network = {
        "Standard": PLAIN,
        "l_inf adversarially trained": IN_LINF,
        "Aug 30 (3 px, 30 deg)": AUGMENTED_30,
        "Aug 40 (4 px, 40 deg)": AUGMENTED_40,
    }[columns["network"]]
    if columns["attack"] == "none":
        return Bound(clean(network), RIGHT)
    attacks = {
        "worst-of-10": WORST_OF_TEN,
        "first-order (FO)": AMOUNTS[level].first_order,
        "grid": ENGSTROM_GRID,
    }
    return right("engstrom", network, attacks[columns["attack"]], TURNS.label)


def table_1(number: Number, level: Level) -> Binding:
    what = {"predicted_digit": "the first 7 is taken for", "confidence_of_prediction": "confidence in that"}
    return Bound(SEVEN, f"{what[number.columns['metric']]} at {number.columns['eps']}")


def table_2(number: Number, level: Level) -> Binding:
    network = {"Wasserstein-trained": TRANSPORT, "Vanilla": VANILLA}[number.columns["network"]]
    degrees = number.columns["max_rotation_deg"]
    ball, grid = next((ball, grid) for ball, grid in GRIDS if ball.degrees == degrees)
    return right("turns", network, grid, ball.label)


TABLES: dict[str, Callable[[Number, Level], Binding]] = {
    "Figure 7": figure_7,
    "Figure 10": figure_10,
    "Table 1": table_1,
    "Table 2": table_2,
}


def figures(level: Level) -> dict[tuple[str, str], Binding]:
    """Numbers of figures and of the text, by place and name; those that are not here are settings."""
    noise, carried = stability(level), carried_photos(level)
    madry = curve_name(MADRY.label, "pgd")
    sweep = curve_name(TRANSPORT.label, ADAM, TO_FIVE)
    found: dict[tuple[str, str], Binding] = {
        ("Figure 4", "MNIST accuracy under PGD"): Bound(MADRY_CURVE, point_name("right", madry, 0.3)),
        ("Figure 4", "CIFAR10 accuracy under PGD"): CIFAR,
        ("Figure 4", "best challenge attack CIFAR10 accuracy (lower bound)"): CIFAR,
        ("Figure 4", "PGD random starts"): Absent("Madry et al.'s own check, cited; nothing here makes 100,000 starts"),
        ("Figure 12", "clean confidence"): Bound(noise, "clean confidence"),
        ("Figure 12", "adversarial confidence"): Bound(noise, "adversarial confidence"),
        ("Figure 13", "magnification"): Absent("how a picture is shown; pictures of these photos are not published"),
        ("Figure 14", "confidence of wrong prediction"): Bound(noise, "confidence of wrong answers under noise"),
        ("Figure 15", "clean confidence (lower bound)"): Bound(carried, "mirrored: confidence before"),
        ("Figure 15", "jigsaw puzzle confidence"): Bound(carried, "mirrored: confidence in it"),
        ("Figure 15", "eps"): Absent("a setting, which the text contradicts; both readings are run"),
        ("Figure 15", "eps in text"): Absent("a setting, which the figure contradicts; both readings are run"),
        ("Figure 20", "confidence rarely below"): Absent("a bound seen on several examples, of no stated number"),
        ("text-section-5.2", "Vanilla clean accuracy"): Bound(clean(VANILLA), RIGHT),
        ("text-section-5.2", "Wasserstein clean accuracy"): Bound(clean(TRANSPORT), RIGHT),
        ("text-section-5.2", "Vanilla accuracy at eps <= 12/255 (lower bound)"): directed(VANILLA, 12),
        ("text-section-5.2", "Wasserstein: accuracy below 90 percent only above eps"): Bound(
            L_INF, f"first radius below 90 % · {sweep}"
        ),
        ("text-section-5.2", "same threshold"): directed(TRANSPORT, 40),
        ("text-section-6.1", "one-pixel translation distance"): Bound(sizes(level), f"{SHIFT}: bounds of the mean"),
        ("text-section-6.1", "Wong et al. max eps"): Absent("a setting of Wong et al.'s training, cited"),
    }
    for name in ("otter before", "beaver before", "otter after", "beaver after"):
        found["Figure 16", name] = Bound(carried, name)
    for place, network in (
        ("Figure 21", VANILLA),
        ("Figure 22", TRANSPORT),
        ("Figure 23", VANILLA),
        ("Figure 24", TRANSPORT),
    ):
        for name in ("rotation clockwise", "rotation anticlockwise"):
            found[place, name] = Bound(STRONGEST_TURNS, f"size of the turn · {network.label}")
        for name in ("shift left", "shift right"):
            found[place, name] = Bound(STRONGEST_TURNS, f"shift sideways · {network.label}")
        found[place, "shift up"] = Bound(STRONGEST_TURNS, f"shift up or down · {network.label}")
    return found


def right(suite: str, network: Network, attack: str, threat: str, goal: str = "untargeted") -> Bound:
    """The share of a suite's examples that a network still gets right."""
    name = rate_name("right", dataset=network.dataset, target=network.label, attack=attack, goal=goal, threat=threat)
    return Bound(RATES[suite], name)


def directed(network: Network, levels: int) -> Bound:
    """Under the report's attack to class 5."""
    assert network.dataset == DIGITS
    return right("digits", network, ADAM, grey(levels).label, TO_FIVE)
