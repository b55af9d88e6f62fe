"""A headless Chromium with a profile of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (on Debian: apt install chromium)"
)


@contextmanager
def a_browser(*, width: int, height: int) -> Iterator[BrowserContext]:
    """A browser with one page, for as long as the block lasts."""
    from playwright.sync_api import sync_playwright

    profile = tempfile.mkdtemp(prefix="hwb", dir="/tmp")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch_persistent_context(
                profile, executable_path=CHROMIUM, args=FLAGS, viewport={"width": width, "height": height}
            )
            browser.set_default_timeout(20_000)
            yield browser
            browser.close()
    finally:
        shutil.rmtree(profile, ignore_errors=True)
