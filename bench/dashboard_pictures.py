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
# name, path, height at 1440 pixels, theme
PAGES = (
    ("apis", "/", 900, "light"),
    ("api", "/apis/credit-risk", 1180, "light"),
    ("predictions", "/apis/credit-risk/predictions", 900, "light"),
    ("logs", "/apis/churn/logs", 900, "dark"),
    ("try", "/apis/iris/try", 900, "light"),
)
UPDATED = "recommendations"
START_S = 12  # of its new replicas
DURING_UPDATE = (("rollout", f"/apis/{UPDATED}", 760, "dark"),)
AFTER_UPDATE = (("revisions", f"/apis/{UPDATED}/revisions", 760, "light"),)
PHONE = (390, 844)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4, help="of traffic before the pictures (default 4)")
    parser.add_argument("--into", type=Path, default=IMAGES, help="folder (default docs/images)")
    arguments = parser.parse_args()
    with stage.a_home() as home:
        home.environ["HATCHWAY_DASHBOARD_PORT"] = "0"
        (home.project / "handler.py").write_text(scene.HANDLER)
        (home.project / "broken.py").write_text(scene.BROKEN)
        (home.project / "training.csv").write_text(scene.training_data())
        (home.project / "hatchway.yaml").write_text(scene.yaml_of(scene.APIS))
        home.run("deploy", "--no-wait")
        with scene.traffic(home, scene.APIS):
            time.sleep(arguments.minutes * 60)
            take(home, PAGES, arguments.into)
            updated = tuple(api for api in scene.APIS if api.name == UPDATED)
            (home.project / "hatchway.yaml").write_text(scene.yaml_of(updated, START_S))
            home.run("deploy", "--no-wait")
            take(home, DURING_UPDATE, arguments.into)
            home.run("deploy")  # until it is done
            take(home, AFTER_UPDATE, arguments.into)


def take(home: stage.Home, pages: tuple[tuple[str, str, int, str], ...], folder: Path) -> None:
    link = home.run("dashboard", "--no-browser").strip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context()
        context.new_page().goto(link)
        for name, path, height, theme in pages:
            for width, tall, suffix in ((1440, height, ""), (*PHONE, "-phone")):
                page = context.new_page()
                page.set_viewport_size({"width": width, "height": tall})
                page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
                page.goto(link.partition("/enter")[0] + path)
                page.wait_for_timeout(6000)  # until figures have come twice
                use(page, name)
                save(page, folder / f"dashboard-{name}{suffix}.png")
        browser.close()


def use(page: Page, name: str) -> None:
    """What a person who looks at the page would do: point at a moment, open a field, send a request."""
    if name == "api" and page.viewport_size["width"] > PHONE[0]:  # type: ignore[index]
        page.hover(REPLICAS_CHART, position={"x": 300, "y": 60})
    if name == "predictions":
        page.click(".fields-list summary >> nth=0")
        page.wait_for_selector(".distribution")
    if name == "try":
        page.click("button:text-is('Send')")
        page.wait_for_selector(".code-badge")


def save(page: Page, path: Path) -> None:
    """With 256 colours, which a page of flat surfaces never notices."""
    with PIL.Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(256, method=PIL.Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    page.close()


if __name__ == "__main__":
    main()
