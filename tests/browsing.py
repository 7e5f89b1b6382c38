"""A headless Chromium for the tests of pages: every tab reports what went wrong in it and what it asked for."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from advbench_leaderboard.serve import server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


PICTURE = "await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@dataclass
class Tab:
    """A page and its own context: nothing of an earlier test is in it."""

    page: Any
    faults: list[str] = field(default_factory=list)
    """Console errors and warnings, exceptions, dialogs, and requests that failed."""
    requests: list[str] = field(default_factory=list)

    def open(self, address: str) -> Any:
        if address.partition("#")[0] == self.page.url.partition("#")[0]:
            self.page.goto("about:blank")  # so that a new fragment of the same page is a visit, too
        self.page.goto(address)
        return self.page

    def busy(self, act: str) -> float:
        """Milliseconds that the page's thread computes for an act and the next picture, however busy the machine is."""
        devtools = self.page.context.new_cdp_session(self.page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        spent = []
        for script in (act, ""):  # the waiting and measuring has its own cost
            before = _busy(devtools)
            self.page.evaluate(f"async () => {{ {script}; {PICTURE}; }}")
            spent.append(_busy(devtools) - before)
        devtools.detach()
        return max(0.0, spent[0] - spent[1])


def _busy(devtools: Any) -> float:
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(metrics["TaskDuration"])


@dataclass
class Browser:
    chromium: Any
    tabs: list[Tab] = field(default_factory=list)

    def tab(self, **options: Any) -> Tab:
        """`color_scheme="dark"`, `java_script_enabled=False`, `viewport={...}`: what playwright's contexts know."""
        page = self.chromium.new_context(**options).new_page()
        tab = Tab(page)

        def alarm(dialog: Any) -> None:
            tab.faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        def failed(request: Any) -> None:
            if request.failure != "net::ERR_ABORTED":  # a picture that was still on its way when the tab went on
                tab.faults.append(f"failed: {request.url}: {request.failure}")

        page.on("console", lambda said: said.type in ("error", "warning") and tab.faults.append(said.text))
        page.on("pageerror", lambda error: tab.faults.append(str(error)))
        page.on("requestfailed", failed)
        page.on("request", lambda request: tab.requests.append(request.url))
        page.on("dialog", alarm)
        self.tabs.append(tab)
        return tab

    def close_tabs(self) -> None:
        """Nothing may have gone wrong in any of them, nor may one have asked for anything outside."""
        tabs, self.tabs = self.tabs, []
        for tab in tabs:
            tab.page.context.close()
        faults = [fault for tab in tabs for fault in tab.faults]
        assert not faults, faults
        home = ("file:///", "http://127.0.0.1:", "data:", "about:blank")
        outside = [url for tab in tabs for url in tab.requests if not url.startswith(home)]
        assert not outside, outside


@contextmanager
def chromium() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'advbench[browser]' to run")
    if CHROMIUM is None:
        pytest.skip("install chromium to run")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root has no sandbox
        try:
            yield Browser(launched)
        finally:
            launched.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the folder behind `advbench serve`'s server."""
    with server(folder, 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/"
        finally:
            listening.shutdown()
            thread.join()
