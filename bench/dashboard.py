"""The dashboard of a home with a hundred APIs: how soon it is painted, and how large its answers are.

first paint   from the navigation, in a headless Chromium, and until the rows of all APIs are in the page
requests      bytes of the largest answers of that page
"""

from __future__ import annotations

import argparse
import shutil
import statistics

import stage
from playwright.sync_api import sync_playwright

APIS = 100
API = """\
- name: {name}
  handler: {{path: handler.py}}
  autoscaling: {{min_replicas: 0, max_replicas: 2, downscale_stabilization_period: 0s, window: 1s}}
"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
SIZES = "performance.getEntriesByType('resource').map((one) => [one.name, one.decodedBodySize])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", type=int, default=APIS, help=f"how many (default {APIS})")
    parser.add_argument("--repetitions", type=int, default=5, help="medians are shown (default 5)")
    arguments = parser.parse_args()
    with stage.a_home() as home:
        home.environ["HATCHWAY_DASHBOARD_PORT"] = "0"
        (home.project / "handler.py").write_text(stage.ECHO_ASYNC)
        names = [f"api-{number:03}" for number in range(arguments.apis)]
        (home.project / "hatchway.yaml").write_text("".join(API.format(name=name) for name in names))
        home.run("deploy", "--no-wait")
        measure(home.run("dashboard", "--no-browser").strip(), arguments.apis, arguments.repetitions)


def measure(link: str, apis: int, repetitions: int) -> None:
    """Print what a browser that comes by the link sees."""
    base = link.partition("/enter")[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.new_page().goto(link)
        paints, rows = [], []
        for _ in range(repetitions):
            page = context.new_page()
            page.goto(base)
            page.wait_for_selector(f"a.name >> nth={apis - 1}", state="attached")
            rows.append(page.evaluate("performance.now()"))
            paints.append(page.evaluate(PAINT))
            sizes = dict(page.evaluate(SIZES))
            page.close()
        listed = context.request.get(f"{base}/v1/timelines")
        sizes[f"{base}/v1/timelines"] = len(listed.body())
        browser.close()
    print(f"{apis} APIs: first paint {statistics.median(paints):.0f} ms, all rows {statistics.median(rows):.0f} ms")
    for name, size in sorted(sizes.items(), key=lambda one: -one[1])[:5]:
        print(f"{size / 1000:8.1f} kB  {name.removeprefix(base)}")


if __name__ == "__main__":
    main()
