"""What every column means: one sentence and one formula each. A test holds the pages' links against this list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    key: str
    """The anchor on the page of metrics."""
    name: str
    sentence: str
    formula: str
    remark: str = ""


METRICS = (
    Metric(
        "robust-accuracy",
        "Robust accuracy",
        (
            "The share of examples that the target gets right on the clean image and under every required attack, "
            "each crafted on the target itself."
        ),
        (
            "#{e : clean(e) = y(e) and, for every required attack a, prediction(a, e) = y(e) or a broke the rules "
            "on e} / #examples"
        ),
        "It is counted example by example: the worst case, not the worst average. A target that lacks a "
        "required attack has none and is listed unranked, with the reason. A detector’s alarm is no right answer. "
        "What is larger than the board’s radius, as a minimal-norm attack’s example may be, changes nothing.",
    ),
    Metric(
        "rank",
        "Rank",
        (
            "One more than the number of targets above the first of this rank; a neighbour who is not "
            "significantly worse than that first one shares its rank."
        ),
        "p = exact two-sided McNemar test on the same examples; shared where p ≥ 0.05",
        (
            "“=” marks a shared rank. Comparing with the first of a rank keeps a chain of small steps from "
            "becoming one great tie."
        ),
    ),
    Metric(
        "interval",
        "95 % interval",
        "The range of true rates that the counted examples do not contradict.",
        "Wilson: (k + z²/2 ± z·√(k(n−k)/n + z²/4)) / (n + z²), z = 1.96",
        "It tells of the choice of examples alone, not of the attack’s randomness nor of how the network was trained.",
    ),
    Metric(
        "clean-accuracy",
        "Clean accuracy",
        "The share of the board’s examples that the target gets right when nothing is changed.",
        "#{e : clean(e) = y(e)} / #examples",
    ),
    Metric(
        "accuracy-under-attack",
        "Accuracy under one attack",
        "The share of examples that are right on the clean image and stay right under this one attack.",
        "#{e : clean(e) = y(e) and (prediction(a, e) = y(e) or a broke the rules on e)} / #examples",
    ),
    Metric(
        "fooling",
        "Fooled",
        (
            "The share of examples on which the attack reached its goal within the ball, judged on the target "
            "that it was crafted on."
        ),
        "#{e : goal reached and no rule broken} / #examples",
        (
            "For an untargeted attack an example that was wrong from the start counts as reached; “of those first "
            "right” leaves these out."
        ),
    ),
    Metric(
        "fooled-first-right",
        "Fooled, of those first right",
        "The same share among the examples that were right on the clean image.",
        "#{e : clean(e) = y(e), goal reached, no rule broken} / #{e : clean(e) = y(e)}",
    ),
    Metric(
        "transfer-in",
        "Transfer in",
        (
            "The share of examples on which this target is fooled by the examples of another one; the worst cell "
            "of any other target is shown."
        ),
        "max over cells c crafted on other targets of #{e : goal reached here, no rule broken} / #examples",
        "It stands beside the robust accuracy, never in it: a stranger’s model does not change your score.",
    ),
    Metric(
        "undetected",
        "Fooled, undetected",
        (
            "The share of examples on which the attack reached its goal and the detector raised no alarm; the "
            "attack that gets past it most often is shown."
        ),
        "#{e : goal reached, no rule broken, suspicion(e) ≤ threshold} / #examples",
        "Always read it beside the false alarms: a detector that rejects everything lets nothing through.",
    ),
    Metric(
        "false-alarms",
        "False alarms",
        "The share of clean images that the detector rejects.",
        "#{e : suspicion(clean e) > threshold} / #examples",
        "The threshold is set by the harness on held-out clean images for the rate that is shown as “asked”.",
    ),
    Metric(
        "certified",
        "Certified lower bound",
        (
            "The share of the board’s examples that are right and for which the defense proved that no change "
            "within the radius can alter the answer."
        ),
        "#{e : certified prediction = y(e) and certified radius ≥ board’s radius} / #examples",
    ),
    Metric(
        "size",
        "Mean size",
        "The mean size of the perturbations that fooled images which were right when clean, in the ball’s own measure.",
        "mean of size(e) over {e : clean(e) = y(e), goal reached, no rule broken}",
        "The size of a single example is that of its perturbation, as the referee measured it.",
    ),
    Metric(
        "median-size",
        "Median size",
        "Half of the perturbations that fooled images which were right when clean are no larger than this.",
        "median of size(e) over {e : clean(e) = y(e), goal reached, no rule broken}",
        "of an attack that looks for the smallest perturbation: those within the board’s radius",
    ),
    Metric(
        "least-robust",
        "Least where trained, least elsewhere",
        (
            "The lowest robust accuracy over the balls of a kind that a defense of the target was trained in, and "
            "over all others."
        ),
        "min over boards of robust accuracy",
        "Radii of different balls do not compare; the two numbers say where a target falls, not how far.",
    ),
    Metric(
        "accuracy-at-radius",
        "Accuracy at a radius",
        (
            "The share of examples that are right on the clean image and that no minimal-norm attack changed with "
            "a perturbation up to that radius."
        ),
        "#{e : clean(e) = y(e) and min over minimal-norm attacks of size(e) > r} / #examples",
        "An upper bound of the true robust accuracy, as every number from attacks is.",
    ),
    Metric(
        "forwards",
        "Forward passes",
        "How often the network was asked, per example: by one attack, or in a board’s row by all that count there.",
        "Σ over cells of passes / examples of the cell",
    ),
    Metric(
        "backwards",
        "Backward passes",
        "How often a gradient was taken, per example: by one attack, or in a board’s row by all that count there.",
        "Σ over cells of gradients / examples of the cell",
    ),
    Metric(
        "passes",
        "Passes",
        "Forward and backward passes per example together, the mean over the targets of a board.",
        "Σ over cells of (passes + gradients) / examples of the cell / #cells",
    ),
    Metric(
        "seconds",
        "Seconds",
        "The time that crafting took on its machine: of one attack, or in a board’s row of all that count there.",
        "Σ over cells of wall-clock seconds",
        "Times of different machines do not compare; the runs’ machines are under provenance.",
    ),
    Metric(
        "violations",
        "Violations",
        (
            "How many of the attack’s perturbations the referee refused: outside the ball or the image’s range, "
            "not finite, or not of the right form."
        ),
        "#{e : rule broken}",
        "They count as not fooled, and stay in the database with what was broken and by how much.",
    ),
    Metric(
        "classes",
        "Which classes become which",
        (
            "The share of a class’s examples, right on the clean image, that the attack turned into another class, or "
            "brought to the class it was sent to."
        ),
        "#{e : y(e) = row = clean(e), fooled, prediction or goal = column} / #{e : y(e) = row = clean(e), tried}",
        "Tried are all of the class; with goals at classes those that were sent to the column’s class.",
    ),
    Metric(
        "suspicion",
        "Suspicion",
        "How unusual the detector finds an image; a bar of the histogram is the share of images within its span.",
        "#{images : low ≤ suspicion < high} / #images, of the clean and of the fooled ones",
        "An alarm is raised above the threshold, which is drawn.",
    ),
    Metric(
        "confidence",
        "Confidence",
        "The share of belief that the target puts into its answer.",
        "softmax(logits)[answer]",
    ),
    Metric(
        "moved-mass",
        "Moved mass",
        "How much of the image’s mass left a pixel, times how far it went, down and to the right.",
        "Σ over pixels q of plan(p, q) · (q − p)",
    ),
    Metric(
        "difference",
        "Paired difference",
        "How much larger the robust accuracy of one target is than that of another, on the same examples.",
        "(#{only A right} − #{only B right}) / #examples, with the interval of Bonett and Price (2012)",
        "Bold where the exact McNemar test says that it is no accident (p < 0.05).",
    ),
    Metric(
        "verified",
        "Verified",
        (
            "Whether every stored perturbation behind this row was refereed again by advbench verify and gave "
            "the same verdicts, and names, balls and keys follow from the parameters of its cells. It does not say "
            "that the perturbations are those that the attacks find: crafting a cell again tells that, which a "
            "merge does for a few cells of an entry; the page of each cell that came by merging says whether for it."
        ),
        "all cells of the row: recomputed outcome = stored outcome",
        "Not covered: seconds and passes, which are told by whoever ran the attack.",
    ),
    Metric(
        "contradiction",
        "Contradicted elsewhere",
        (
            "An attack on the same target in the same ball, which does not count on the board, leaves less than the "
            "board’s robust accuracy, beyond chance."
        ),
        "p < 0.05 and fewer right: exact McNemar test on shared examples, Fisher’s exact test on others",
        "Of each set of examples the strongest attack is tested. It does not count on the board, because its examples "
        "are others or the board does not require it: run it on the board’s examples to have it count.",
    ),
    Metric(
        "notes",
        "Notes",
        "Signs that a number may say more about the attacks than about the target; each with its reason.",
        "stored by the harness, or computed from the facts: weak evidence (no attack behind the robust accuracy finds "
        "what gradients at the image don’t lead to), black-box stronger than white-box, more steps weaker, "
        "a huge radius that leaves right answers, false alarms far above what was asked, an attack elsewhere that "
        "leaves less, or one that is not required",
    ),
    Metric(
        "published",
        "The paper",
        "A number as a paper prints it, in the paper’s unit.",
        "typed from the paper’s tables, figures and text",
        "It is taken as it is printed, also where the paper contradicts itself; notes at its table say so.",
    ),
    Metric(
        "ours",
        "Ours",
        "What was found here, by the analysis that the published number is bound to.",
        "a share with Wilson’s 95 % interval, a mean ± 1.96 standard errors, or what the analysis says of itself",
        "It is computed from the facts of this database, and computed again by advbench verify; N is how many examples "
        "it counts.",
    ),
    Metric(
        "published-difference",
        "Ours less the paper’s",
        "How much larger ours is than the published number.",
        "ours − published, with the ends of our interval less the published number",
        "The paper’s own uncertainty is not in it: it states none.",
    ),
    Metric(
        "reproduced",
        "Reproduced",
        "Whether a published number lies within our interval, half a unit of its last figure allowed.",
        "within: low − ½ unit ≤ published ≤ high + ½ unit; outside: not; no interval: ours has none, or the paper says "
        "it in words; absent: there is none of ours, with the reason",
        "Within says that the counted examples do not contradict the paper: with few examples, intervals are wide.",
    ),
    Metric(
        "claim",
        "Verdict on a claim",
        "Whether our findings bear out what a paper claims: it holds, fails, or they can’t tell.",
        "code over findings with intervals: decided where intervals do not meet, undecided where they do or one is "
        "missing",
        "Judged twice: by the paper’s own attacks, and under the strongest attack that there is. No verdict is written "
        "by hand.",
    ),
    Metric(
        "series",
        "Points of a figure",
        "Where a curve, mark or bar of a figure stands, with its interval where it has one.",
        "as the analysis found it; the axes of the figure say of what",
    ),
)
