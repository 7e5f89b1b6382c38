"""The page, in the order of the paper."""

from __future__ import annotations

from advbench import Chart, Gallery, Level, Missing, Ours, Section, Shown, Table
from advbench_studies.qin2020.betas import best_name
from advbench_studies.qin2020.bindings import (
    CIFAR,
    NO_SUBSTITUTE,
    any_of,
    attacked_pictures,
    betas_of,
    clean_of,
    curves_on_fashion,
    curves_on_mnist,
    distances_of,
)
from advbench_studies.qin2020.claims import ACCURACY, LOW, MANY, POINTS
from advbench_studies.qin2020.galleries import Aimed, Corrupted
from advbench_studies.qin2020.likeness import Likeness
from advbench_studies.qin2020.pairs import Pairs
from advbench_studies.qin2020.sizes import ALL, EPS, FASHION, MNIST, SIZES, TITLES, Sizes
from advbench_studies.qin2020.suites import PAIRS_BETA, aware, family, fgsm_readings, rates, target

ABSTRACT = """\
A capsule network redraws its input from the capsule of the class that it decides for. Qin et al. flag an image that is
far, in l2, from what is redrawn of it, and carry the idea over to two convolutional networks: CNN+CR redraws from the
units of the winning class, CNN+R from all of them. Attacks that do not know of the detector are seen on MNIST almost
always. A reconstructive attack, which steps towards the goal and then away from suspicion, gets through more often and,
in their tables, least often on the capsule network; what gets through there resembles the class that was aimed at.

Here: MNIST and Fashion-MNIST. SVHN and CIFAR-10 are absent, each with its reason. The networks are advbench's
`capsnet-r`, `cnn-cr` and `cnn-r`; the paper gives layer sizes in a picture alone, so theirs may differ.
"""

FALSE_ALARMS = "false positive rate in percent"


def sections(level: Level) -> tuple[Section, ...]:
    sizes = SIZES[level]
    return (
        _judging(),
        _detection(sizes),
        _standard(sizes),
        _black_box(sizes),
        _corruptions(sizes),
        _reconstructive(sizes),
        _cifar(),
        _coherence(sizes),
        _networks(sizes),
        _pictures(sizes),
        _confounders(sizes),
    )


def _judging() -> Section:
    text = f"""\
A claim is decided by findings with their 95 % intervals, never by hand. Words of the paper that name no number are
given one: an undetected rate is low, or small, below {LOW:g} %; *lowest* allows {POINTS:g} points; accuracies are
similar when they differ by less than {ACCURACY:g} points; *many* is more than {MANY:g} %; *almost always*, *less often*
and *more often* are more than half of the cells of networks, data sets and goals that there are here; distances are far
lower when more than 95 % of pairs are in order. A claim of which SVHN is a part can fail here and can't hold.

The verdict under the strongest attack puts `aware` in the place of the paper's attacks, or all attacks together."""
    return Section("How the claims are judged", text)


def _detection(sizes: Sizes) -> Section:
    text = f"""\
The first {sizes.distances} test digits redrawn from each of the ten classes, the true one and the nine others, by
CapsNet and CNN+CR; CNN+R redraws the same whatever the class. Below, for each network, distances of clean digits beside
those of successes of untargeted PGD at 0.3 ({sizes.standard} digits, {sizes.steps[MNIST]} steps of 0.01).

A distance is the l2 norm, and not its square. The threshold is the 95th percentile of the distances of 5,000 held-out
digits that took no part in training; the paper's validation split is not stated."""
    distances = distances_of(sizes)
    classes = tuple(
        f"{TITLES[n]}: {which}" for n in ("capsnet-r", "cnn-cr") for which in ("true class", "other classes")
    )
    by_digit = tuple(f"{TITLES[n]}, by digit*" for n in ("capsnet-r", "cnn-cr"))
    attacked = tuple(f"{title}: {which}" for title in TITLES.values() for which in ("clean", "PGD"))
    return Section(
        "Detecting adversarial images by reconstruction (sections 1 and 4)",
        text,
        (
            Table("Figure 1"),
            Chart("Figure 1", distances, classes, "l2 distance", "share of redrawn digits", caption="figure 1a"),
            Chart("Figure 1", distances, by_digit, "digit", "mean distance", "marks", "figure 1a, digit by digit"),
            Chart("Figure 1", distances, attacked, "l2 distance", "share of images", caption="figure 1b"),
            Ours("Distances and how well they part", distances),
        ),
    )


def _standard(sizes: Sizes) -> Section:
    rounds, steps = sizes.cw[0]
    text = f"""\
{sizes.standard} first test images; success and undetected success, of all images, those that are wrong when clean among
them. l∞ radius {EPS[MNIST]} on MNIST and {EPS[FASHION]} on Fashion-MNIST; BIM and PGD make {sizes.steps[MNIST]} and
{sizes.steps[FASHION]} steps of 0.01 (the paper: 1,000 and 500). Targets are drawn uniformly from the other classes.

FGSM. Appendix C has a step of 0.05 in a ball of 0.3, so three readings stand below each other: one step of 0.05, which
the table is compared with, one step of the whole radius, and as many steps of 0.05 as reach it.

CW. The appendix has 1,000 iterations of the authors' public code. There they are the iterations of each of nine steps
of the binary search for c; that is what the table is compared with at the levels hour and paper
(here: {rounds} × {steps}). Beside it stands the other reading, five rounds of 200. Our CW stops a round that no longer
gains, so that neither costs what it may.

Which image is judged. The paper reports where an attack ends. Here it is the success of highest loss on the whole path,
for CW the smallest success: BIM and PGD can't have fewer successes than where they end.

The strongest attack, `{aware(sizes)}`, knows of the detector: it climbs the loss until the goal is reached and then
suspicion, too."""
    readings: list[Shown] = []
    for dataset in (MNIST, FASHION):
        for network in ALL if dataset == MNIST else sizes.fashion:
            title = f"{TITLES[network]} on {dataset}: all readings, and the attack that is aware"
            names = ("success*", "undetected*", "size*")
            readings.append(Ours(title, rates("standard", dataset, network), names, _readings(dataset)))
    return Section(
        "Standard attacks (section 5.1, appendix D)",
        text,
        (Table("Table 1", "attack"), Table("Table 5", "attack"), *readings),
    )


def _readings(dataset: str) -> str:
    return "; ".join(f"{words}: {label}" for words, label in fgsm_readings(dataset).items())


def _black_box(sizes: Sizes) -> Section:
    short = ", ".join(map(str, sizes.short_betas))
    text = f"""\
The substitute is the same network trained by the same recipe from another seed (`reseed`). Attacks are crafted on it,
{sizes.standard} digits with PGD and {sizes.reconstructive} with R-PGD, and judged on the first network. Of R-PGD the β
among {short} with most undetected successes on the judged network stands in the table. How many substitutes
the paper trained is not stated; here it is one.

Beside it, what the paper has not: PGD carried over between the three networks, without a substitute of the same
kind."""
    shown: list[Shown] = [Table("Table 7", "goal")]
    shown += [
        Ours(f"Black-box R-PGD on {TITLES[network]}, every β", betas_of("substitute-r-pgd", MNIST, network))
        for network in sizes.substitutes
    ]
    if not sizes.substitutes:
        text = f"{text}\n\nAt this level the table is empty: {NO_SUBSTITUTE}."
    transfer = rates("transfer", MNIST, "all")
    shown.append(Ours("PGD between different networks", transfer, ("success*", "undetected*", "transferred*")))
    return Section("Black-box attacks (section 5.1, appendix G)", text, tuple(shown))


def _corruptions(sizes: Sizes) -> Section:
    text = f"""\
{sizes.corrupted} digits under each of 17 corruptions at full strength, and {sizes.clean} clean ones. Error and
undetected error, of all images. The images of corrupted MNIST are not to be had here: they are made again by the
settings of its public code, but frost is drawn and not cut from photographs, fog is a landscape of the digit's size,
elastic waves are shorter and lower, and nothing is rounded to 8 bits. So the rows of these three compare other
corruptions. The threshold is kept from clean digits; the paper does not say so."""
    if set(sizes.corrupted_networks) != set(ALL):
        text = f"{text}\n\nAt this level the digits are corrupted for CNN+CR alone."
    return Section("Corruption attacks (section 5.2)", text, (Table("Table 2", "network"),))


def _reconstructive(sizes: Sizes) -> Section:
    betas, short = (", ".join(map(str, some)) for some in (sizes.betas, sizes.short_betas))
    text = f"""\
{sizes.reconstructive} first test images. Two steps an iteration, 0.01 · β along the sign of the loss's gradient and
0.01 · (1 − β) against that of the distance; R-FGSM makes one iteration with 0.05. The paper tunes β for each network
and data set and does not print it; here it is the one of {betas} (R-BIM: {short}) with most undetected successes on the
very images that are judged, for each network, data set, goal and attack. The interval is that of the chosen rate
alone: it does not know that the highest of several was chosen. Success stands at that β, too.

An attack that sees suspicion is judged at its least suspect success on the whole path, not where it ends: what
the paper finds, that reconstructive attacks succeed less often, is harder to see that way.

Table 3 and table 6 contradict each other in one cell: targeted R-PGD against CNN+CR on Fashion-MNIST is 89.8/84.4 in
table 3 and 78.1/72.0 in table 6. The former are the numbers of untargeted R-BIM in the same row of table 6, so table 3
is probably a slip. Both are compared with the same number of ours.

Figure 2: thresholds are quantiles of the distances of clean test images; `aware` stands beside R-PGD."""
    shown: list[Shown] = [Table("Table 3", "goal"), Table("Table 6", "attack")]
    rate = "undetected rate in percent"
    shown.append(Chart("Figure 2", curves_on_mnist(sizes), (), FALSE_ALARMS, rate, caption="MNIST"))
    for network, curves in curves_on_fashion(sizes).items():
        shown.append(Chart("Figure 2", curves, (), FALSE_ALARMS, rate, caption=f"Fashion-MNIST, {TITLES[network]}"))
    shown.append(Ours("MNIST: undetected at rates of false alarms", curves_on_mnist(sizes)))
    for network, curves in curves_on_fashion(sizes).items():
        shown.append(Ours(f"Fashion-MNIST, {TITLES[network]}: undetected at rates of false alarms", curves))
    targeted = family("R-PGD", MNIST, sizes)
    for network in ALL:
        both = tuple(
            best_name(metric, MNIST, target(network), targeted, "random") for metric in ("success", "undetected")
        )
        caption = f"targeted R-PGD on {TITLES[network]}, MNIST"
        shown.append(Chart("Figure 9", betas_of("r-pgd", MNIST, network), both, "β", "percent", "lines", caption))
    for network in ALL:
        title = f"{TITLES[network]} on MNIST: one stage in place of two, targeted"
        shown.append(Ours(title, betas_of("one-stage", MNIST, network)))
    for dataset in (MNIST, FASHION):
        for network in ALL if dataset == MNIST else sizes.fashion:
            title = f"{TITLES[network]} on {dataset}: images that any attack gets through"
            shown.append(Ours(title, any_of(dataset, network)))
            for kind in ("reconstructive", "r-pgd"):
                shown.append(Ours(f"{TITLES[network]} on {dataset}: {kind}", betas_of(kind, dataset, network)))
    return Section("Reconstructive attacks (section 5.3, appendix F)", text, tuple(shown))


def _cifar() -> Section:
    return Section("CIFAR-10 (section 5.4)", "", (Missing("Figure 3", CIFAR), Table("Figure 3")))


def _coherence(sizes: Sizes) -> Section:
    text = f"""\
Figure 4: {sizes.pairs} first test images of Fashion-MNIST, each aimed at the nine other classes, R-PGD with
β = {PAIRS_BETA} and {sizes.steps[FASHION]} steps at 25/255; the paper does not say which β. The spread is the standard
deviation over pairs beyond what chance alone gives with so few images a pair. The correlation (Spearman's) is that of
success with the distance of the two classes' mean images: below 0 where near classes are reached more often.

Figures 5 and 11 are drawn from the same attacks: figure 5 is about SVHN in the paper and about Fashion-MNIST here.

An independent network (`convnet`, 99.6 % right on clean digits) looks at undetected successes of targeted R-PGD at 0.3
on MNIST: how often does it see the class that was aimed at? The paper shows examples and has no number."""
    shown: list[Shown] = [Table("Figure 4"), Table("Figure 5")]
    for network in sizes.fashion:
        pairs = Pairs(network)
        shown.append(Gallery("Figure 4", pairs, caption=f"{TITLES[network]}, Fashion-MNIST, 25/255"))
        shown.append(Ours(f"{TITLES[network]}: success by pairs of classes", pairs))
    for network in sizes.fashion:
        caption = f"{TITLES[network]}, Fashion-MNIST, toward T-shirt/top"
        shown.append(Gallery("Figure 5", Aimed(network), ("toward*",), caption))
    shown += [Ours(f"{TITLES[network]}: what an independent network sees", Likeness(network)) for network in ALL]
    return Section("Visual coherence of the reconstructive attack (section 6)", text, tuple(shown))


def _networks(sizes: Sizes) -> Section:
    text = f"""\
Figure 6 is a picture of the architectures without readable sizes. Here CapsNet has the layers of Sabour et al. (2017)
with fewer channels (64 of 256 kernels, 8 of 32 types of capsules), and the convolutional networks are as wide as gives
the same number of parameters. Table 4: the error on the first {sizes.clean} test images."""
    shown: list[Shown] = [
        Missing("Figure 6", "a drawing; sizes are told in numbers below"),
        Table("Table 4", "network"),
    ]
    for dataset in (MNIST, FASHION):
        for network in ALL if dataset == MNIST else sizes.fashion:
            shown.append(Ours(f"{TITLES[network]} on {dataset}", clean_of(dataset, network, sizes)))
    return Section("Networks and clean errors (appendices A and B)", text, tuple(shown))


def _pictures(sizes: Sizes) -> Section:
    text = """\
All are drawn by chance. A red frame: flagged. A green one: wrong, or at the goal, and not flagged. In figures 7 and 8
each corruption has two rows, the digits and what is redrawn of them. CW on SVHN is shown on MNIST."""
    corrupted = Corrupted(" ".join(sizes.corrupted_networks))
    shown: list[Shown] = [
        Gallery("Figure 7", corrupted, tuple(f"{TITLES[one]}: first half" for one in sizes.corrupted_networks)),
        Gallery("Figure 8", corrupted, tuple(f"{TITLES[one]}: second half" for one in sizes.corrupted_networks)),
    ]
    shown += [Gallery("Figure 10", one, caption=label) for label, one in attacked_pictures(sizes).items()]
    shown.append(Gallery("Figure 11", Aimed("capsnet-r"), ("every class",), "CapsNet, Fashion-MNIST, 25/255"))
    shown.append(Table("text-related-work"))
    return Section("Pictures (appendices E, H)", text, tuple(shown))


def _confounders(sizes: Sizes) -> Section:
    text = f"""\
What the paper does not say and may decide its numbers. The weight of the reconstruction loss, a sum of squares: 0.02
beside the cross-entropy and 0.005 beside the margin loss here, 0.0005 in Sabour et al.; as a sweep on the small
networks of `mnist-5k`, {sizes.balance_examples} digits, untargeted, at 0.3. Capsules of the original size take hours to
train on a CPU and are compared at the level paper alone."""
    shown: list[Shown] = [Ours(f"mnist-5k: {model}", rates("balance", "mnist-5k", model)) for model in sizes.balances]
    shown += [Ours(f"mnist: {model}", rates("original", MNIST, model)) for model in sizes.originals]
    return Section("Confounders that the paper does not discuss", text, tuple(shown))
