"""A browser, and a running stack with load."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    FloatRect,
    Locator,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)

from tests.processes import free_port
from tests.stack.native import NativeStack, Stack

# Prefer the system's Chromium to the one from Playwright.
_CHROMIUM = shutil.which("chromium", path="/usr/bin")


@dataclass
class Visitor:
    """An anonymous user's browser, which records errors and requests to other machines."""

    context: BrowserContext
    grafana: str
    pictures: Path
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Open a page of Grafana in a new tab."""
        page = self.context.new_page()
        page.goto(f"{self.grafana}{path}")
        return page

    def watch(self, page: Page) -> None:
        """Record the errors of a page."""
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def check_host(self, request: Request) -> None:
        """Record a request to another machine."""
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname not in {"127.0.0.1", "localhost"}:
            self.problems.append(f"request to another machine: {request.url}")

    def screen(self, page: Page, name: str) -> None:
        """Save a screenshot of the whole page, like on the screen of a laptop."""
        page.screenshot(path=self.pictures / f"{name}.png")

    def picture(self, page: Page, name: str, part: Locator | None = None, height: float = 960) -> None:
        """Save a screenshot without Grafana's menu; with `part`, only the row that contains it."""
        clip: FloatRect = {"x": 308, "y": 84, "width": 1132, "height": height}
        if part is not None:
            box = part.bounding_box()
            assert box
            clip |= {"y": box["y"] - 8, "height": box["height"] + 16}
        page.screenshot(path=self.pictures / f"{name}.png", clip=clip)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Return the addresses of a stack with Grafana; a native stack is new, and its stores are empty."""
    if os.environ.get("STACK") == "up":
        yield Stack.published()
        return
    if not os.environ.get("GRAFANA_HOME"):
        pytest.skip("no Grafana: set STACK=up if docker compose is running, or set GRAFANA_HOME to an unpacked Grafana")
    with NativeStack() as native:
        stack = native.start()
        stack = replace(stack, locust=f"http://127.0.0.1:{free_port()}")
        few = {"LOAD_USERS": "3", "LOAD_INCIDENTS": "off"}
        for name, settings in (("api", {}), ("api-2", few), ("api-3", few)):
            port = urlsplit(stack.locust).port if name == "api" else free_port()
            load = {"LOAD_TARGET": native.url(name), "LOAD_PORT": str(port), "PROMETHEUS_URL": stack.prometheus}
            load["GRAFANA_PORT"] = str(urlsplit(stack.grafana or "").port)
            native.services.start(f"load-{name}", [sys.executable, "-m", "loadtest"], {**load, **settings})
        native.start_tour()
        yield stack


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Return Playwright; skip if Chromium is not installed."""
    with sync_playwright() as playwright:
        if not _CHROMIUM and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("Chromium is not installed: run .venv/bin/playwright install chromium, or apt install chromium")
        yield playwright


@pytest.fixture
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Return a new Chromium."""
    browser = playwright.chromium.launch(
        executable_path=_CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
    )
    yield browser
    browser.close()


@pytest.fixture
def visitor(browser: Browser, stack: Stack, tmp_path: Path) -> Iterator[Visitor]:
    """Return a visitor; fail afterwards if there were console errors or requests to other machines."""
    # The window shows the whole dashboard, because Grafana renders only the panels in view.
    context = browser.new_context(viewport={"width": 1440, "height": 3200}, timezone_id="UTC")
    visitor = Visitor(context, stack.grafana or "", Path(os.environ.get("PICTURES", tmp_path)))
    # Ten concurrent queries are slow on a small machine.
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    context.on("page", visitor.watch)
    context.on("request", visitor.check_host)
    yield visitor
    context.close()
    assert [] == visitor.problems
