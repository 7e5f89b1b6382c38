"""Which finding stands beside which published number, and why some have none."""

from __future__ import annotations

from advbench import Absent, Analysis, Bound, Level, Number, rate_name
from advbench_studies.qin2020.betas import AnyAttack, Betas, best_name
from advbench_studies.qin2020.clean import Clean, clean_name
from advbench_studies.qin2020.detection import Curves, Distances
from advbench_studies.qin2020.galleries import Aimed, Attacked, Corrupted
from advbench_studies.qin2020.likeness import Likeness
from advbench_studies.qin2020.pairs import Pairs, pairs_name
from advbench_studies.qin2020.sizes import (
    ALL,
    DATASETS,
    FASHION,
    FIRST_ON_FASHION,
    GOALS,
    MNIST,
    NETWORKS,
    SIZES,
    Sizes,
)
from advbench_studies.qin2020.suites import (
    SUBSTITUTE,
    ball,
    corrupted_name,
    family,
    kind_of,
    named,
    rates,
    standard,
    standard_name,
    target,
)

CIFAR = (
    "CIFAR-10: the paper's network of 92.2 % is not described, and only parts of the images are here, most of them "
    "damaged by JPEG"
)
SVHN = "SVHN: only the first 1,083 training images are here, too few to train the networks on, and no test image"
OTHERS = "a number about other people's work, which is no experiment of this paper"
NOT_ON_FASHION = "level smoke attacks CapsNet alone on Fashion-MNIST, and not {network}"
ONE_CORRUPTED = "level smoke corrupts digits for CNN+CR alone"
NO_SUBSTITUTE = "level smoke trains nothing, and a second network of each kind, from another seed, does not ship"
METRICS = {"success_rate": "success", "undetected_rate": "undetected", "error_rate": "success"}


def clean_of(dataset: str, network: str, sizes: Sizes) -> Clean:
    return Clean(dataset, network, sizes.clean)


def betas_of(kind: str, dataset: str, network: str) -> Betas:
    return Betas(named(kind, dataset, network))


def any_of(dataset: str, network: str) -> AnyAttack:
    """Every attack in the ball of tables 3 and 6, whatever it knows."""
    return AnyAttack(" ".join(named(kind, dataset, network) for kind in ("standard", "reconstructive", "r-pgd")))


def distances_of(sizes: Sizes) -> Distances:
    return Distances(MNIST, sizes.distances, standard("PGD", MNIST, sizes))


def curves_on_fashion(sizes: Sizes) -> dict[str, Curves]:
    """A curve for each network, since some of them are trained first."""
    return {network: Curves(FASHION, network, min(sizes.clean, 5000)) for network in sizes.fashion}


def curves_on_mnist(sizes: Sizes) -> Curves:
    return Curves(MNIST, " ".join(ALL), min(sizes.clean, 5000))


def attacked_pictures(sizes: Sizes) -> dict[str, Attacked]:
    """Figure 10, with CW on MNIST in the place of CW on SVHN."""
    found: dict[str, Attacked] = {}
    pgd, cw = standard("PGD", MNIST, sizes), standard("CW", MNIST, sizes)
    for network in ALL:
        found[f"PGD {network}"] = Attacked(named("standard", MNIST, network), pgd, MNIST, network)
        found[f"CW {network}"] = Attacked(named("standard", MNIST, network), cw, MNIST, network)
    middle = sizes.betas[len(sizes.betas) // 2]
    for network in sizes.fashion:
        steps = sizes.steps[FASHION]
        label = f"r-pgd(beta={middle}, steps={steps})" if middle != 0.5 else f"r-pgd(steps={steps})"
        found[f"R-PGD {network}"] = Attacked(named("r-pgd", FASHION, network), label, FASHION, network)
    return found


def analyses(level: Level) -> tuple[Analysis, ...]:
    sizes = SIZES[level]
    found: list[Analysis] = []
    attacked = [(MNIST, network) for network in ALL] + [(FASHION, network) for network in sizes.fashion]
    for dataset, network in attacked:
        found += [rates("standard", dataset, network), rates("r-pgd", dataset, network)]
        found += [betas_of(kind, dataset, network) for kind in ("reconstructive", "r-pgd", "one-stage")]
        found += [any_of(dataset, network), clean_of(dataset, network, sizes)]
    found += [rates("corrupted", MNIST, network) for network in sizes.corrupted_networks]
    found.append(rates("transfer", MNIST, "all"))
    found += [Pairs(network) for network in sizes.fashion]
    for network in sizes.substitutes:
        found += [rates("substitute", MNIST, network), betas_of("substitute-r-pgd", MNIST, network)]
    found += [rates("balance", "mnist-5k", model) for model in sizes.balances]
    found += [rates("original", MNIST, model) for model in sizes.originals]
    found += [curves_on_mnist(sizes), *curves_on_fashion(sizes).values(), distances_of(sizes)]
    found += [Likeness(network) for network in ALL]
    found += [Corrupted(" ".join(sizes.corrupted_networks)), *attacked_pictures(sizes).values()]
    found += [Aimed(network) for network in sizes.fashion]
    return tuple(found)


def bound(number: Number, level: Level) -> Bound | Absent:
    """By what the row says, never by its place."""
    sizes, columns = SIZES[level], number.columns
    if number.place == "text-related-work":
        return Absent(OTHERS)
    if number.place.startswith("Figure"):
        return _of_figure(number, sizes)
    network = NETWORKS[columns["network"]]
    if number.place == "Table 2":
        return _corrupted(str(columns["corruption"]), network, str(columns["metric"]), sizes)
    if columns["dataset"] == "SVHN":
        return Absent(SVHN)
    dataset = DATASETS[columns["dataset"]]
    if dataset == FASHION and network not in sizes.fashion:
        return Absent(NOT_ON_FASHION.format(network=columns["network"]))
    if number.place == "Table 4":
        return Bound(clean_of(dataset, network, sizes), clean_name("error", dataset, network))
    metric, goal = METRICS[columns["metric"]], GOALS[columns["goal"]]
    attack = str(columns["attack"])
    if number.place == "Table 7":
        return _black_box(attack, goal, network, metric, sizes)
    if attack.startswith("R-"):
        analysis = betas_of(kind_of(attack), dataset, network)
        return Bound(analysis, best_name(metric, dataset, target(network), family(attack, dataset, sizes), goal))
    return Bound(rates("standard", dataset, network), standard_name(metric, attack, goal, dataset, network, sizes))


def _of_figure(number: Number, sizes: Sizes) -> Bound | Absent:
    """Radii and the like: what the cells that we drew from say."""
    name = str(number.columns.get("name", ""))
    if number.place == "Figure 1":
        return Bound(distances_of(sizes), "radius · CapsNet")
    if number.place == "Figure 3":
        return Absent(CIFAR)
    if number.place == "Figure 4":
        return Bound(Pairs(FIRST_ON_FASHION[0]), pairs_name("radius", FIRST_ON_FASHION[0]))
    if number.place == "Figure 5" and name == "eps":
        return Bound(Pairs(FIRST_ON_FASHION[0]), pairs_name("radius", FIRST_ON_FASHION[0]))
    if number.place == "Figure 5":
        return Absent("a choice and no measurement: class 0 is aimed at here, too, on Fashion-MNIST; " + SVHN)
    if number.place == "Figure 9":
        return Bound(distances_of(sizes), "radius · CapsNet")
    return Absent("nothing is measured there")


def _corrupted(corruption: str, network: str, metric: str, sizes: Sizes) -> Bound | Absent:
    if corruption == "clean":
        wanted = "error" if metric == "error_rate" else "undetected error"
        return Bound(clean_of(MNIST, network, sizes), clean_name(wanted, MNIST, network))
    if network not in sizes.corrupted_networks:
        return Absent(ONE_CORRUPTED)
    return Bound(rates("corrupted", MNIST, network), corrupted_name(METRICS[metric], corruption, network))


def _black_box(attack: str, goal: str, network: str, metric: str, sizes: Sizes) -> Bound | Absent:
    """Crafted on the network of another seed, judged on the first."""
    if network not in sizes.substitutes:
        return Absent(NO_SUBSTITUTE)
    if attack == "PGD":
        name = black_box_name(metric, goal, network, sizes)
        return Bound(rates("substitute", MNIST, network), name)
    name = black_box_best(metric, goal, network, sizes)
    return Bound(betas_of("substitute-r-pgd", MNIST, network), name)


def black_box_name(metric: str, goal: str, network: str, sizes: Sizes) -> str:
    return rate_name(
        metric,
        dataset=MNIST,
        target=target(network, SUBSTITUTE),
        attack=standard("PGD", MNIST, sizes),
        goal=goal,
        threat=ball(MNIST),
        on=target(network),
    )


def black_box_best(metric: str, goal: str, network: str, sizes: Sizes) -> str:
    crafted_on = target(network, SUBSTITUTE)
    return best_name(metric, MNIST, crafted_on, family("R-PGD", MNIST, sizes), goal, on=target(network))
