"""Our number beside each that the paper prints, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from advbench import Absent, Bound, Level, Number
from advbench_studies.billovits2016.analyses import RATES, mitigated, on_digits, one_step
from advbench_studies.billovits2016.one_step import SECOND_BEST
from advbench_studies.billovits2016.prior import READINGS
from advbench_studies.billovits2016.suites import SHALLOW

CITED = "a number of another paper, which this one cites"
PHOTO = "about one photo of the paper, which is not among ours"
OF_FIGURE_6: Mapping[str, str] = {
    "images attacked": "images attacked",
    "images with adversarial confidence > 50 percent": "count changed, above 50 %",
    "typical second-best probability for those (upper bound)": SECOND_BEST,
}
BAND = "a band that the authors read from a histogram; claim billovits-5 tests it by its rates"


def binding(number: Number, level: Level) -> Bound | Absent:
    name = str(number.columns["name"])
    if number.place == "Figure 6":
        return Bound(one_step(level), OF_FIGURE_6[name]) if name in OF_FIGURE_6 else Absent(BAND)
    if number.place == "text-section-7":
        return _of_section_7(name, level)
    if number.place == "text-section-4.4":
        if name == "misclassification high":
            return Bound(RATES, on_digits("success", SHALLOW, "fgsm", "linf(eps=0.25)"))
        return Absent(CITED)
    if number.place == "text-section-2":
        return Absent(CITED)
    if number.place == "Figure 1":
        return Absent("how many classes the figure shows; ours are drawn by chance")
    return Absent(PHOTO)


def _of_section_7(name: str, level: Level) -> Bound | Absent:
    if name == "ImageNet validation images with FGSM adversarial example":
        return Bound(one_step(level), "changed, above 50 %")
    if name == "high-confidence adversarials mitigated by the prior":
        return Bound(mitigated(level), READINGS[1])
    if name == "Goodfellow et al. error rate, as compared":
        return Bound(RATES, on_digits("success", SHALLOW, "fgsm", "linf(eps=0.25)"))
    return Absent("a density of codes without a unit: the number depends on the code's scale, which is nowhere said")
