"""A study that was performed, not one that a test wrote down, comes out as a page."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

from toy_study import Toy

from advbench.plugins.discovery import discover
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.store import Store
from advbench.studies.performance import outline, perform_study
from advbench_leaderboard.render import render


def test_the_page_of_a_study_shows_what_it_found(tmp_path: Path) -> None:
    study = Toy()
    registry = replace(discover(), studies={study.label: study})
    with Store.open(tmp_path / "toy.sqlite") as store:
        perform_study(outline(study, "smoke", registry), store, registry, lambda plan: Settings(), Reporter())
        (highest,) = store.rows("SELECT value FROM findings WHERE name = 'highest'")
    assert render(tmp_path / "toy.sqlite", tmp_path / "site").problems == ()
    (page,) = (tmp_path / "site/studies").glob("toy-smoke-*.html")
    html = page.read_text(encoding="utf-8")
    text = " ".join(unescape(re.sub("<[^>]*>", " ", html.replace("<wbr>", ""))).split())
    assert "about 3" in text
    assert f"{highest['value']:.3g}" in text
    assert "absent 1" in text
    assert "nobody wrote it" in text
    assert "not asked : one attack is enough" in text.replace("not asked:", "not asked :")
    assert "advbench study toy --level smoke --db toy.sqlite" in text
    assert html.count('<svg class="figure') == 1
    assert html.count("<img") == 2
