"""Which of our findings stands beside each published number."""

from __future__ import annotations

from advbench import Absent, Bound, Level, Number
from advbench_studies.equivariant2019.architectures import Architectures, layer_name
from advbench_studies.equivariant2019.sizes import principal, top_shares

FIGURE_1 = {
    "share (lower bound, each net)": "lowest of the three",
    "singular vectors": "singular vectors",
    "share of the number of singular values (upper bound)": "share of their number",
    "test inputs": "test inputs",
}
OF_FIGURE = {"Figure 2": "StdCNN", "Figure 3": "GCNN", "Figure 4": "RotEqNet", "Figure 5": "StdCNN", "Figure 6": "GCNN"}


def binding(number: Number, level: Level) -> Bound | Absent:
    """By table or figure, and what its row says."""
    columns = number.columns
    if number.place == "Table 1":
        one = principal(columns["network"], level)
        return Bound(one, f"angle {columns['angle_index']} · gradient · {one.rows:,} inputs")
    if number.place == "Table 2":
        return Bound(Architectures(), layer_name(columns["network"], columns["position"], columns["parameter"]))
    if number.place == "Figure 1":
        return Bound(top_shares(level), FIGURE_1[columns["name"]])
    if number.place in OF_FIGURE:
        one = principal(OF_FIGURE[number.place], level)
        name = str(columns["name"])
        if name.startswith("average dot product"):
            return Bound(one, f"mean |dot| of top 5 · gradient · {one.rows:,} inputs")
        if name.startswith("fooling rate full sample"):
            return Bound(one, f"fooled at the small norm, {'lowest' if name.endswith('low') else 'highest'}")
        if name.startswith("fooling rate sample 100"):
            return Bound(one, f"fooled · gradient · {one.samples[0]:,} inputs · norm {one.small:g}")
    return Absent(f"{number.place}: nothing that is computed here answers to it")
