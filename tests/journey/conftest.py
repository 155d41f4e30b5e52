"""A visitor's browser, and a stack that has just come up, with the load that starts by itself."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, FloatRect, Locator, Page, Playwright, Request, expect, sync_playwright

from tests.processes import free_port
from tests.stack.native import NativeStack, Stack

# The system's, or else Playwright's own.
_CHROMIUM = shutil.which("chromium", path="/usr/bin")


@dataclass
class Visitor:
    """Somebody without an account: a browser that notes what it should not have seen or asked."""

    context: BrowserContext
    grafana: str
    pictures: Path
    trouble: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Open a page of Grafana in a new tab."""
        page = self.context.new_page()
        page.goto(f"{self.grafana}{path}")
        return page

    def watch(self, page: Page) -> None:
        """Note the page's errors."""
        page.on("console", lambda said: self.trouble.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.trouble.append(str(error)))

    def note(self, request: Request) -> None:
        """Note a request that would leave this machine."""
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname not in {"127.0.0.1", "localhost"}:
            self.trouble.append(f"left this machine: {request.url}")

    def picture(self, page: Page, name: str, part: Locator | None = None, height: float = 960) -> None:
        """Keep what is on the screen, without Grafana's own menu; or, of `part`, the row that it is in."""
        clip: FloatRect = {"x": 308, "y": 84, "width": 1132, "height": height}
        if part is not None:
            box = part.bounding_box()
            assert box
            clip |= {"y": box["y"] - 8, "height": box["height"] + 16}
        page.screenshot(path=self.pictures / f"{name}.png", clip=clip)


@pytest.fixture(scope="session")
def fresh() -> Iterator[Stack]:
    """Return where a stack with a Grafana answers; a native one is new, and its stores are empty."""
    if os.environ.get("STACK") == "up":
        yield Stack.published()
        return
    if not os.environ.get("GRAFANA_HOME"):
        pytest.skip("no Grafana: set STACK=up where docker compose is up, or GRAFANA_HOME to an unpacked Grafana")
    with NativeStack() as native:
        stack = native.start()
        stack = replace(stack, locust=f"http://127.0.0.1:{free_port()}")
        few = {"LOAD_USERS": "3", "LOAD_INCIDENTS": "off"}
        for name, settings in (("api", {}), ("api-2", few), ("api-3", few)):
            port = urlsplit(stack.locust).port if name == "api" else free_port()
            load = {"LOAD_TARGET": native.url(name), "LOAD_PORT": str(port), "PROMETHEUS_URL": stack.prometheus}
            native.services.start(f"load-{name}", [sys.executable, "-m", "loadtest"], {**load, **settings})
        yield stack


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Return Playwright; where there is no Chromium, skip."""
    with sync_playwright() as playwright:
        if not _CHROMIUM and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium: .venv/bin/playwright install chromium, or apt install chromium")
        yield playwright


@pytest.fixture
def visitor(playwright: Playwright, fresh: Stack, tmp_path: Path) -> Iterator[Visitor]:
    """Return a visitor; afterwards, nothing was wrong on the console and nothing asked for beyond this machine."""
    browser = playwright.chromium.launch(
        executable_path=_CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
    )
    # A screen on which the whole dashboard is drawn: Grafana leaves out what is not in view.
    context = browser.new_context(viewport={"width": 1440, "height": 3200}, timezone_id="UTC")
    visitor = Visitor(context, fresh.grafana or "", Path(os.environ.get("PICTURES", tmp_path)))
    # Ten queries at once take their time on a small machine.
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    context.on("page", visitor.watch)
    context.on("request", visitor.note)
    yield visitor
    browser.close()
    assert [] == visitor.trouble
