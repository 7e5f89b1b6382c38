"""The page of the study, in the order of the paper."""

from __future__ import annotations

from advbench import Chart, Gallery, Level, Ours, Section, Table
from advbench_studies.equivariant2019.networks import ATTACKS, FOOLED, NETWORKS
from advbench_studies.equivariant2019.principal import Principal
from advbench_studies.equivariant2019.sizes import JUDGED, MINIMAL, curves, principal, rates, smallest, top_shares

Seen = Table | Chart | Gallery | Ours

ABSTRACT = """\
Attacks that perturb each image in its own way (the loss gradient, FGSM, DeepFool) share a property, the paper says: \
stacked as unit vectors, their directions have few dominant components, on a plain convolutional network as well as on \
two that are equivariant to rotations. The first component alone, added to all images, is said to fool 80 to 90 % of \
them at a small norm, and 100 images are said to be enough to find it. Two theorems explain why. The dominant \
directions are said to be nearly orthogonal to those of a small rotation."""


def sections(level: Level) -> tuple[Section, ...]:
    return (
        _settings(level),
        _spectra(level),
        _invariant(level),
        _fooling(level),
        _vectors(level),
        _theorems(level),
        _stronger(level),
    )


def _settings(level: Level) -> Section:
    std, vector_field = principal("StdCNN", level), principal("RotEqNet", level)
    return Section(
        "Networks, data and settings",
        f"""\
StdCNN and GCNN have the layers of table 2 and were trained on 55,000 training digits of MNIST, each turned by any \
angle anew in every epoch. The paper says 50,000 in section 3 and 55,000 in its appendix, and links to a page of MNIST \
variations where it speaks of MNIST. It calls GCNN a network of seven layers; table 2 has four convolutions and two \
linear layers. RotEqNet has the layers of \
its authors' code. The weights of it that are shipped were trained on 3,500 digits only (96.5 % right on 1,000 upright \
digits that it has not seen), so its numbers stand for less than those of the other two. The paper states no accuracy, \
no optimiser and no layer sizes of RotEqNet.

All are asked about the 10,000 test digits, each turned by an angle of its own in ±180°. At this level {std.rows:,} of \
them, drawn by chance, give gradients and FGSM directions, and as many DeepFool directions \
({vector_field.deepfool:,} on RotEqNet). Vectors are tried on the first {std.tested:,} test digits \
({vector_field.tested:,} on RotEqNet).

The paper leaves open, and here is taken: the gradient of the cross-entropy at the true label; DeepFool as it was \
published, in l2, from the predicted class, all ten classes compared, overshoot 0.02, no clipping; rows of length one, \
not centred. Each interval of a spectral number is a jackknife over ten parts of the rows; where two numbers differ by \
more than that, the networks differ, since nobody else has the paper's weights.""",
        (Table("Table 2"),),
    )


def _spectra(level: Level) -> Section:
    shows: list[Seen] = [
        Table("Figure 1"),
        Chart(
            "Figure 1",
            top_shares(level),
            x="first so many directions",
            y="percent of the sum of squared singular values",
            caption=f"Gradients of {top_shares(level).rows:,} test digits. The paper: more than 10 % in the first "
            "five, each network.",
            published=(("paper's lower bound", ((5.0, 10.0),)),),
        ),
    ]
    for place, network in enumerate(NETWORKS, 2):
        one = principal(network, level)
        shows.append(
            Chart(
                f"Figure {place}",
                one,
                ("singular values: *",),
                x="number",
                y="singular value",
                caption=f"(a) {network}: the first singular values of {one.samples[1]:,} and of all directions. The "
                "paper prints the curves without numbers. A matrix of more rows has larger singular values.",
            )
        )
        shows.append(Ours(f"{network}: share of the first five, percent", one, ("top five*",)))
    return Section(
        "Few dominant directions (section 3)",
        """\
If all 784 directions were alike, the first five would hold 0.64 % of the spectrum; a matrix of few rows holds more in \
five directions by chance alone. So the two sample sizes are not to be compared with each other, and the interval \
reaches down to the share that the first five directions of one half of the inputs hold of the other half, where \
chance does not help.""",
        tuple(shows),
    )


def _invariant(level: Level) -> Section:
    shows: list[Seen] = [Table("Table 1", across="network")]
    for place, network in enumerate(NETWORKS, 2):
        one = principal(network, level)
        shows += [
            Table(f"Figure {place}"),
            Chart(
                f"Figure {place}",
                one,
                ("mean |dot|: *",),
                x="first five and first ten directions of each, side by side",
                y="mean absolute dot product",
                kind="marks",
                caption=f"(b) {network}: directions of attack and of a turn by 2°, {one.samples[1]:,} and all inputs.",
                published=(("paper's upper bound", ((5.0, 0.07),)),),
            ),
        ]
    std = principal("StdCNN", level)
    shows += [
        Ours(
            "Two subspaces drawn at random",
            std,
            ("by chance: *",),
            "Fifty pairs of random subspaces of 784 dimensions. Where an attack's angles are smaller than these, its "
            "directions are less orthogonal to a small turn than chance is.",
        ),
        *(
            Ours(
                f"{network}: turns at their own lengths",
                principal(network, level),
                ("turns at their own lengths*",),
                "The paper does not say whether differences are brought to length one before their singular vectors "
                "are taken. In the table and figures they are; this is the other reading.",
            )
            for network in NETWORKS
        ),
        *(Ours(f"{network}: all angles, degrees", principal(network, level), ("angle *",)) for network in NETWORKS),
    ]
    return Section(
        "Invariant directions (section 3)",
        """\
A turned digit is turned by 2° more, and the difference is a direction along which the answer should not change. The \
average dot product is read as the mean absolute one over all pairs; with signs it would be near zero for anything. \
The bound 0.07 stands beside the gradient's number; the claim is judged on all three attacks. The paper calls its \
angles nearly 90°; its own fifth ones are 78.9, 68.8 and 69.0. Near 90° is taken to be 65° and more, the mean dot \
product and the smallest angle together are the verdict.

Five-dimensional subspaces of 784 dimensions are nearly orthogonal by chance. What chance gives stands below, and is \
what "nearly orthogonal" is to be held against.""",
        tuple(shows),
    )


def _fooling(level: Level) -> Section:
    shows: list[Seen] = []
    for place, network in enumerate((*FOOLED, "RotEqNet"), 5):
        one = principal(network, level)
        figure = f"Figure {place}" if network in FOOLED else "RotEqNet, which the paper does not show"
        if network in FOOLED:
            shows.append(Table(figure))
        for attack in ATTACKS:
            shows.append(_curves(figure, network, attack, one))
        shows.append(
            Chart(
                figure,
                one,
                ("fooled, clipped: *", "clean error"),
                x="l2 norm",
                y="percent misclassified",
                caption=f"{network}, vectors of all inputs, with the clip to [0, 1]: {one.tested:,} test digits.",
            )
        )
        shows.append(
            Ours(
                f"{network}: the norm at which 80 % are fooled, the clean error, and random directions",
                one,
                (
                    "norm that fools*",
                    "clean error",
                    "mean norm*",
                    "cosine with all*",
                    "fooled · random direction*",
                    "fooled, clipped · random direction*",
                ),
                "Of the better sign; by a straight line between norms of the grid. Nothing stands where 80 % is not "
                "reached within the grid.",
            )
        )
    return Section(
        "One vector for all images (section 4)",
        f"""\
The first singular vector, and its opposite, is added to every test digit at a grid of l2 norms. A singular vector has \
no sign; + is the one that the directions of attack point to on average. The paper's text has neither the norm at \
which 80 to 90 % are fooled nor a grid. The numbers beside the paper's are those of the better sign at norm \
{principal("StdCNN", level).small:g}, less than half of the mean norm of a digit, which stands below. Of the full \
sample the lowest and the highest of the three attacks stand there; of the small one the gradient's.

The paper does not say whether pixels are clipped to [0, 1]. The numbers and the first curves are without a clip; \
vectors of all inputs have curves with it, too. Clipping takes away whatever would be darker than black, so that any \
vector, a random one as well, mostly brightens the background. Errors on clean images count as fooled, as in the paper \
and are a line of their own. A large enough vector of any kind leaves a network with a single answer, which is wrong \
for 90 %.

Samples of {principal("StdCNN", level).samples[0]} and {principal("StdCNN", level).samples[1]} inputs are drawn \
{principal("StdCNN", level).draws} times (RotEqNet: {principal("RotEqNet", level).draws}), curves are means over the \
draws. The paper shows no fooling of RotEqNet; it is here since a claim speaks of all networks.""",
        tuple(shows),
    )


def _curves(figure: str, network: str, attack: str, one: Principal) -> Chart:
    return Chart(
        figure,
        one,
        (f"fooled: {attack} · *", "fooled: random direction", "clean error"),
        x="l2 norm",
        y="percent misclassified",
        caption=f"{network}, {attack}, without a clip: {one.tested:,} test digits.",
    )


def _vectors(level: Level) -> Section:
    shows: list[Seen] = [
        Gallery(
            "Figure 7",
            principal("StdCNN", level),
            ("turn *",),
            f"Of the differences that a turn by 2° makes, {principal('StdCNN', level).rows:,} inputs.",
        )
    ]
    figures = iter(range(8, 17))
    for network in NETWORKS:
        for attack in ATTACKS:
            one = principal(network, level)
            caption = f"Figure {next(figures)}: {attack} on {network}, {one.sizes(attack)[-1]:,} inputs."
            shows.append(Gallery("Figures 8-16", one, (f"{attack} *",), caption))
    return Section(
        "Singular vectors as images",
        "The first five of each; grey is zero, and black and white are the largest entry, either way. The caption of "
        "figure 13 is printed as gradients in DeepFool on GCNN; it is read as DeepFool on GCNN.",
        tuple(shows),
    )


def _theorems(level: Level) -> Section:
    shows: list[Seen] = []
    for network in NETWORKS:
        one = principal(network, level)
        shows += [
            Chart(
                "Theorem 1",
                one,
                ("theorem 1: *",),
                x="δ",
                y="share of the inputs",
                caption=f"{network}: with |⟨a, v⟩| ≥ δ‖a‖ there are so many, and so many are promised.",
            ),
            Ours(f"{network}: theorem 1", one, ("theorem 1: *",)),
            Chart(
                "Theorem 2",
                one,
                ("theorem 2: *",),
                x="inputs",
                y="‖v − ṽ‖",
                caption=f"{network}, {one.draws} draws with repetition; the bound where ε is below the eigengap.",
            ),
            Ours(f"{network}: theorem 2", one, ("theorem 2: *",)),
        ]
    return Section(
        "Theorems 1 and 2 (section 5)",
        """\
Theorem 1: at least (λ − δ²) / (1 − δ²) of the inputs have a direction whose cosine with v is at least δ, where λ is \
the top eigenvalue of the mean of aaᵀ/‖a‖². It is true of any matrix, and so holds here by arithmetic; what it \
promises is little where λ is small. The symbols of the special case are lost in our copy; both readings, δ = √(λ/2) \
and δ = λ/2, promise λ/2 and stand there. "On the other half" is no theorem: v and λ are those of one half of the \
inputs, the share is that of the other half, and it may fall below the promise by chance.

Theorem 2: of the order of d log d / ε² inputs give ‖v − ṽ‖ ≤ ε / (γ − ε), where γ is the gap between the first two \
eigenvalues and ε < γ. Distances are those of the nearer sign; ε is what was met, the spectral norm of the difference \
of both matrices. "Inputs from which on it speaks" is d log d / γ², with one for the constant that the paper does not \
give. The proof by Davis and Kahan bounds the sine of the angle; the distance is up to a factor √2 larger. Draws in \
which the distance was above the bound are counted.

With one for that constant and 784 pixels, 100 inputs would leave ε far above 1, which is more than any gap: the \
theorem does not speak of the paper's own sample.

The claim that few samples are enough is judged by the cosine of v and ṽ at the paper's 100 inputs: close is 0.9 or \
more. The paper names no number.""",
        tuple(shows),
    )


def _stronger(level: Level) -> Section:
    shows: list[Seen] = [
        *(
            Chart(
                f"Figure {place}",
                curves(level),
                (f"{network}: *",),
                x="l2 norm",
                y="percent misclassified",
                caption=f"{network}: the benchmark's universal attacks, pixels within [0, 1], on {JUDGED[level]:,} "
                "test digits. To be held against the clipped curves above.",
            )
            for place, network in enumerate(FOOLED, 5)
        ),
        Ours(
            "Universal perturbations under the referee",
            rates(),
            (),
            f"The first {JUDGED[level]:,} test digits, fitted on the same ones; right is the share that still is. "
            "`spectral` is the paper's attack: gradient, 100 inputs, both signs.",
        ),
    ]
    for network in FOOLED:
        shows += [
            Ours(
                f"{network}: the smallest perturbations",
                smallest(network, level),
                (),
                f"`fmn` in l2 on the first {MINIMAL[level]:,} test digits, pixels within [0, 1].",
            ),
            Gallery(
                f"{network}: smallest perturbations", smallest(network, level), (), "Their first five singular vectors."
            ),
        ]
    return Section(
        "Stronger attacks",
        """\
`universal-pgd` looks for one perturbation by gradient ascent over all images, pixels within [0, 1]; it has the norms \
of the grid as its bounds. It is the verdict beside claims 2 and 4. `fmn` finds for each image the smallest \
perturbation that it can, and its directions take the place of the paper's three beside the claims about spectra, \
angles and theorems. Its perturbations keep pixels within [0, 1], and the paper's directions know no such bounds: \
where a digit is black they can only brighten, which may be part of what they have in common. Both attacks are run on \
StdCNN and GCNN alone; the weights of RotEqNet belong to another data set, whose judged digits are upright.""",
        tuple(shows),
    )
