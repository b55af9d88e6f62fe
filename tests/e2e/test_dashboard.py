"""The dashboard of one running home, used in a headless browser: what is shown, what can be done, what stays inert."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.browser import a_browser, needs_chromium
from tests.e2e.verbs import deploy
from tests.shell import Shell, a_shell

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.xdist_group("dashboard"), needs_chromium]

HOSTILE = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"

HANDLER = """
import logging

log = logging.getLogger("model")

class Handler:
    def __init__(self, config):
        self.version = config["version"]

    def handle_post(self, payload):
        log.warning("scored %s", payload)
        print("printed")
        if isinstance(payload, dict):
            for number in range(payload.get("noise", 0)):
                print("noise", number, "x" * 100)
        if payload == "fail":
            raise ValueError("<b>refused</b>")
        return {"got": payload, "version": self.version}
"""

BROKEN = f'raise ImportError("{HOSTILE}")\n'


def yaml(version: int) -> str:
    example = json.dumps({"text": HOSTILE})
    return f"""
- name: scorer
  handler: {{path: handler.py, config: {{version: {version}, label: '{HOSTILE}'}}, example: {example}}}
"""


class Home:
    """A home with an API of two revisions and one that does not load."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        (shell.folder / "handler.py").write_text(HANDLER)
        broken = shell.folder.parent / "broken"
        broken.mkdir()
        (broken / "handler.py").write_text(BROKEN)
        (broken / "hatchway.yaml").write_text("name: broken\nhandler: {path: handler.py}\n")
        self.endpoint = ""
        self.revisions = [self.deploy(1), self.deploy(2)]
        shell.run(f"cd {broken} && hatchway deploy", expect=1)

    def deploy(self, version: int) -> str:
        (self.shell.folder / "hatchway.yaml").write_text(yaml(version))
        found = deploy(self.shell)
        self.endpoint = found["endpoint"]
        return str(found["revision"])

    def link(self) -> str:
        return self.shell.run("hatchway dashboard --no-browser").stdout.strip()

    @property
    def url(self) -> str:
        return str(self.shell.run("hatchway status -o json").json()["dashboard"]["url"])

    def predict(self, payload: Any, request_id: str | None = None) -> httpx.Response:
        headers = {} if request_id is None else {"x-request-id": request_id}
        return httpx.post(self.endpoint, json=payload, headers=headers)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("dashboard") / "project"
    folder.mkdir()
    with a_shell(folder) as shell:
        yield Home(shell)


@pytest.fixture(scope="module")
def browser(home: Home) -> Iterator[BrowserContext]:
    """A browser with a session."""
    with a_browser(width=1440, height=900) as browser:
        page = browser.pages[0]
        page.goto(home.link())
        page.wait_for_selector("a.name")
        yield browser


@pytest.fixture
def page(home: Home, browser: BrowserContext) -> Iterator[Page]:
    """A page that fails the test on an error in its code or its console, a foreign request, and anything that ran."""
    page = browser.new_page()
    problems: list[str] = []
    url = home.url
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else problems.append(asked.url))
    page.goto(url)
    page.wait_for_selector("a.name")
    yield page
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src=x], .message b, .why img").count() == 0
    page.close()
    # What a browser says of its own when a connection ends with the engine.
    lost = ("net::ERR_CONNECTION", "net::ERR_INCOMPLETE", "net::ERR_EMPTY")
    assert [one for one in problems if not any(each in one for each in lost)] == []


# A report of the shape that spec/monitoring.py tells, with what a caller may have sent.
REPORT = {
    "api": "scorer", "revision": "r", "window_s": 3600, "seen": 900, "sampled": 900, "verdict": "drift", "log": None,
    "baseline": {"source": "data", "count": 5000},
    "fields": [
        {"name": "input.age", "side": "input", "kind": "numeric", "count": 900, "missing": 9, "types": {"int": 891},
         "distinct": 60, "min": 18, "max": 90, "mean": 44.5, "sd": 12.1, "quantiles": [[0.05, 22], [0.95, 70]],
         "histogram": {"edges": [18, 36, 54, 72, 90], "counts": [100, 400, 300, 91], "baseline": [9, 25, 12, 4]},
         "top": None,
         "drift": {"verdict": "drift", "test": "ks", "statistic": 0.21, "p_value": 1e-9, "threshold": 0.001,
                   "explanation": f"values are higher {HOSTILE}"}},
        {"name": f"input.{HOSTILE}", "side": "input", "kind": "categorical", "count": 900, "missing": 0,
         "types": {"str": 900}, "distinct": 2, "min": None, "max": None, "mean": None, "sd": None, "quantiles": [],
         "histogram": None, "top": [[HOSTILE, 800, 4000], ["b", 100, 1000]], "drift": None},
    ],
    "model": {"type": "classification", "field": "output.label", "classes": {HOSTILE: 700, "no": 200},
              "min": None, "max": None, "mean": None},
}  # fmt: skip


def open_api(page: Page, tab: str) -> None:
    page.click("a.name:text-is('scorer')")
    page.click(f".tabs a:text-is('{tab}')")


def test_nobody_gets_in_without_a_session(home: Home) -> None:
    answer = httpx.get(f"{home.url}/v1/apis")
    assert answer.status_code == 401
    assert "hatchway dashboard" in httpx.get(home.url).text


def test_apis_are_listed_with_state_and_reason_and_open_by_address(home: Home, page: Page) -> None:
    assert page.locator(".apis .rows .row").count() == 2
    row = page.locator(".apis .rows .row", has_text="broken")
    assert row.locator(".status").text_content() == "failed"
    assert HOSTILE in str(row.locator(".why").text_content())
    page.click("a.name:text-is('scorer')")
    page.wait_for_selector("h1:text-is('scorer')")
    assert page.text_content(".endpoint code") == home.endpoint
    page.wait_for_selector(".replicas .row .status[data-phase=ready]")
    page.goto(f"{home.url}/apis/broken")
    page.wait_for_selector(".reason")
    assert HOSTILE in str(page.text_content(".reason"))
    page.go_back()
    page.wait_for_selector("h1:text-is('scorer')")


def test_requests_move_the_charts(home: Home, page: Page) -> None:
    open_api(page, "Overview")
    for number in range(20):
        home.predict(number)
    expect(page.locator(".figure b").first).to_have_text(re.compile(r"[1-9]"))
    label = str(page.get_attribute(".chart svg", "aria-label"))
    assert label.startswith("Requests, the last")
    page.hover(".chart svg")
    page.wait_for_selector(".tip time")
    page.focus(".chart >> nth=1 >> svg")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".chart .hidden-text").nth(1)).to_contain_text("p50")


def test_a_deploy_is_seen_without_reload_and_rolled_back_by_click(home: Home, page: Page) -> None:
    open_api(page, "Revisions")
    page.evaluate("window.isTheSamePage = true")
    new = home.deploy(3)
    page.wait_for_selector(f".revisions li:has-text('{new}') .badge:text-is('wanted')")
    old = home.revisions[0]
    page.click(f"button[aria-label='Roll back to {old}']")
    page.click("dialog button:text-is('Cancel')")
    expect(page.locator("dialog")).to_have_count(0)
    page.click(f"button[aria-label='Roll back to {old}']")
    page.click("dialog button:text-is('Roll back')")
    page.wait_for_selector(f".revisions li:has-text('{old}') .badge:text-is('wanted')")
    page.wait_for_selector(".history li:has-text('Rolled back') .outcome[data-outcome=live]")
    assert page.evaluate("window.isTheSamePage")
    assert home.predict(1).json()["version"] == 1
    entry = home.shell.run("hatchway history scorer -o json").json()[0]
    assert (entry["action"], "@" in entry["by"]) == ("rolled_back", True)


def test_predictions_are_shown_against_their_baseline_with_the_evidence(home: Home, page: Page) -> None:
    page.route("**/monitoring?*", lambda route: route.fulfill(json=REPORT))
    open_api(page, "Predictions")
    expect(page.locator(".verdict .badge")).to_have_text("Drift")
    expect(page.locator(".verdict p")).to_contain_text("1 of 2 fields differ")
    expect(page.locator(".fields-list .field-name")).to_have_text(["input.age", f"input.{HOSTILE}"])
    page.click(".fields-list summary >> nth=0")
    expect(page.locator(".explanation")).to_have_text(f"values are higher {HOSTILE}")
    assert "5,000 records" in str(page.text_content(".verdict p"))
    assert page.locator(".distribution rect.bar").count() == 4
    page.click(".fields-list summary >> nth=1")
    expect(page.locator(".field-more .value-name").first).to_have_text(HOSTILE)


def test_logs_stream_and_are_filtered_and_paused(home: Home, page: Page) -> None:
    open_api(page, "Logs")
    page.wait_for_selector(".log")
    home.predict({"text": HOSTILE})
    page.wait_for_selector(f".log .message:has-text('{HOSTILE}')")
    page.fill(".logs input", "printed")
    expect(page.locator(".log .message").filter(has_not_text="printed")).to_have_count(0)
    page.fill(".logs input", "")
    page.select_option(".logs select", "error")
    home.predict("fail")
    page.wait_for_selector(".log li[data-level=ERROR]:has-text('<b>refused</b>')")
    page.locator(".log").focus()
    page.keyboard.press("p")
    before = page.locator(".log li").count()
    home.predict("fail")
    page.wait_for_selector("text=/Paused, [1-9]/")
    assert page.locator(".log li").count() == before
    page.keyboard.press("p")
    expect(page.locator(".log li")).not_to_have_count(before)
    page.select_option(".logs select", "")
    hostile_id = "<img src=x onerror=window.hit=2>"
    home.predict("by its id", request_id=hostile_id)
    page.click(".log li:has-text('scored by its id') .request-id")
    expect(page.locator(".log .message").filter(has_text="printed")).to_have_count(1)
    assert page.input_value(".logs input") == page.get_attribute(".request-id", "data-id") == hostile_id


def test_a_noisy_log_comes_in_small_answers_and_older_lines_on_demand(home: Home, page: Page) -> None:
    sizes: list[int] = []
    page.on("requestfinished", lambda asked: sizes.append(asked.sizes()["responseBodySize"]))
    assert home.predict({"noise": 6000}).status_code == 200
    open_api(page, "Logs")
    page.wait_for_selector(".log .message:has-text('noise 5999 ')")
    assert page.locator(".log .message:has-text('noise 10 ')").count() == 0
    lines = page.locator(".log li")
    before = lines.count()
    page.click("button:text-is('Older lines')")
    expect(lines).not_to_have_count(before)
    numbers = [int(text.split()[1]) for text in page.locator(".log .message").all_text_contents() if "noise" in text]
    assert numbers == list(range(numbers[0], 6000))  # none is missing, none is there twice
    page.fill(".logs input", "noise 4321")
    expect(lines).to_have_count(1)
    page.click("button:text-is('Older lines')")
    page.wait_for_selector(".begin:visible")
    assert max(sizes) <= 200_000


def test_a_request_is_sent_through_the_gateway(home: Home, page: Page) -> None:
    open_api(page, "Try it")
    assert json.loads(page.input_value(".try textarea")) == {"text": HOSTILE}
    page.click("button:text-is('Send')")
    page.wait_for_selector(".code-badge.good")
    assert json.loads(str(page.text_content(".answer .body")))["got"] == {"text": HOSTILE}
    page.click(".answer summary")
    page.wait_for_selector("dt:text-is('x-hatchway-revision')")
    assert str(page.text_content(".try .copyable code")).startswith(f"curl {home.endpoint}")
    page.fill(".try textarea", '"fail"')
    page.press(".try textarea", "Control+Enter")
    page.wait_for_selector(".code-badge.bad:text-is('500')")
    page.fill(".try textarea", "{")
    page.wait_for_selector(".try .wrong:has-text('Not JSON')")


def test_the_keyboard_is_enough(home: Home, page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("scor")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "scorer"
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text-is('scorer')")
    page.keyboard.press("4")
    page.wait_for_selector(".revisions li")
    page.keyboard.press("Escape")
    page.wait_for_selector("a.name")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") == "scorer"
    page.keyboard.press("?")
    page.wait_for_selector("dialog h2:text-is('Keyboard')")
    page.keyboard.press("Escape")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for _ in range(2):
        page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.keyboard.press("t")


STOP = """() => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
  const name = at.getAttribute('aria-label') || at.textContent.trim() || at.labels?.[0]?.textContent || '';
  return { name, isBody: at === document.body, isSeen: at.matches(':focus-visible') && box.width > 0 && box.bottom > 0,
           hasRing: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1, role: at.tagName };
}"""


def stops(page: Page, path: str) -> list[str]:
    """Where the Tab key stops, from the beginning of the page to its end. Each has a name, and a ring around it."""
    page.goto(path)
    page.wait_for_selector(".tab-body > :not(.skeleton), a.name")
    found: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop["isBody"]:
            break
        assert stop["name"], stop
        assert stop["isSeen"], stop
        assert stop["hasRing"], stop
        found.append(stop["name"])
    return found


def test_each_stop_of_the_tab_key_is_named_and_seen_and_in_order(home: Home, page: Page) -> None:
    page.route("**/monitoring?*", lambda route: route.fulfill(json=REPORT))
    for path in ("/", *(f"/apis/scorer{tab}" for tab in ("", "/predictions", "/logs", "/revisions", "/try"))):
        found = stops(page, f"{home.url}{path}")
        assert found[0] == "Skip to the content"
        wanted = ["broken", "scorer"] if path == "/" else ["Copy", "Scale", "Restart", "Stop", "Overview", "Try it"]
        assert [name for name in dict.fromkeys(found) if name in wanted] == wanted, found


def test_what_is_done_by_click_is_done_by_keyboard(home: Home, page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(STOP)["name"].startswith(name):
                return
        raise AssertionError(f"Tab never came to {name}")

    page.goto(f"{home.url}/apis/scorer/revisions")
    page.wait_for_selector(".revisions li")
    tab_to("Scale")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate(STOP)["role"] == "INPUT"
    page.keyboard.press("Control+A")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('scorer: 2 replicas')")
    expect(page.locator("dialog")).to_have_count(0)
    assert page.evaluate(STOP)["name"] == "Scale"  # the focus is back where it was
    page.keyboard.press("1")
    page.wait_for_selector(".figure b:text-is('2 / 2')")
    tab_to("Scale")
    page.keyboard.press("Enter")
    tab_to("End what was set by")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('by its requests again')")
    page.keyboard.press("5")
    page.wait_for_selector(".try textarea")
    tab_to("Body")
    page.keyboard.press("Control+A")
    page.keyboard.type('"by keyboard"')
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".code-badge.good")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.wait_for_selector(".log .message:has-text('scored by keyboard')")
    page.keyboard.press("/")
    page.keyboard.type("no such line")
    page.wait_for_selector("text=No line matches")


@pytest.mark.parametrize(
    ("theme", "tabs"),
    [("light", ["", "/predictions", "/logs", "/revisions", "/try"]), ("dark", ["", "/predictions", "/logs"])],
)
def test_every_page_is_accessible_and_narrow_enough(home: Home, page: Page, theme: Any, tabs: list[str]) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=theme)
    page.route("**/monitoring?*", lambda route: route.fulfill(json=REPORT))
    for path in ("/", "/apis/broken", *(f"/apis/scorer{tab}" for tab in tabs)):
        page.goto(f"{home.url}{path}")
        page.wait_for_selector(".tab-body > :not(.skeleton), a.name")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} at {width}"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
    page.set_viewport_size({"width": 1440, "height": 900})


def test_it_comes_back_when_the_engine_was_killed(home: Home, page: Page) -> None:
    open_api(page, "Overview")
    page.evaluate("window.isTheSamePage = true")
    os.kill(home.shell.run("hatchway status -o json").json()["engine"]["pid"], signal.SIGKILL)
    page.wait_for_selector(".lost:has-text('does not answer')")
    page.wait_for_selector(".connection[data-state=live]")
    page.wait_for_selector(".lost", state="hidden")
    new = home.deploy(4)
    page.wait_for_selector(f".replicas .row:has-text('{new[:8]}')")
    assert page.evaluate("window.isTheSamePage")


def test_a_home_without_apis_says_how_to_deploy_the_first(browser: BrowserContext, tmp_path: Path) -> None:
    with a_shell(tmp_path) as shell:
        page = browser.new_page()
        page.goto(shell.run("hatchway dashboard --no-browser").stdout.strip())
        page.wait_for_selector("text=hatchway deploy model.joblib")
