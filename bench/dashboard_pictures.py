"""Makes the pictures of docs/dashboard.md again: real APIs with traffic, seen in a headless Chromium.

python bench/dashboard_pictures.py --minutes 4
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from pathlib import Path

import dashboard_scene as scene
import PIL.Image
import stage
from playwright.sync_api import Page, sync_playwright

IMAGES = stage.REPOSITORY / "docs" / "images"
REPLICAS_CHART = "figure:nth-of-type(4) svg"
# name, path, width, height, theme
PICTURES = (
    ("apis", "/", 1440, 900, "light"),
    ("api", "/apis/credit-risk", 1440, 1180, "light"),
    ("logs", "/apis/churn/logs", 1440, 900, "dark"),
    ("phone", "/apis/credit-risk", 390, 844, "light"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4, help="of traffic before the pictures (default 4)")
    parser.add_argument("--into", type=Path, default=IMAGES, help="folder (default docs/images)")
    arguments = parser.parse_args()
    with stage.a_home() as home:
        home.environ["HATCHWAY_DASHBOARD_PORT"] = "0"
        (home.project / "handler.py").write_text(scene.HANDLER)
        (home.project / "broken.py").write_text(scene.BROKEN)
        (home.project / "hatchway.yaml").write_text(scene.yaml_of(scene.APIS))
        home.run("deploy", "--no-wait")
        with scene.traffic(home, scene.APIS):
            time.sleep(arguments.minutes * 60)
            take(home.run("dashboard", "--no-browser").strip(), arguments.into)


def take(link: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context()
        context.new_page().goto(link)
        for name, path, width, height, theme in PICTURES:
            page = context.new_page()
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            page.goto(link.partition("/enter")[0] + path)
            page.wait_for_timeout(6000)  # until figures have come twice
            save(page, folder / f"dashboard-{name}.png", points=name == "api")
        browser.close()


def save(page: Page, path: Path, *, points: bool) -> None:
    """With 256 colours, which a page of flat surfaces never notices; `points`: at a moment of the charts."""
    if points:
        page.hover(REPLICAS_CHART, position={"x": 300, "y": 60})
    with PIL.Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(256, method=PIL.Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    page.close()


if __name__ == "__main__":
    main()
