"""`/docs` used in a headless browser, through the real gateway."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import PIL.Image
import pytest

from tests.e2e.browser import a_browser, needs_chromium
from tests.e2e.verbs import deploy
from tests.shell import Shell

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), needs_chromium]

HANDLER = """
import dataclasses
from typing import Literal

import PIL.Image
import pydantic
from starlette.datastructures import UploadFile

class Flower(pydantic.BaseModel):
    length: float = pydantic.Field(gt=0, description="in centimetres")
    kind: Literal["iris", "rose"] = "iris"

class Said(pydantic.BaseModel):
    label: str

@dataclasses.dataclass
class Upload:
    file: UploadFile
    scale: float = 1.0

class Handler:
    def handle_post(self, payload: Flower) -> Said:
        '''Name a flower.'''
        return Said(label=f"{payload.kind} of {payload.length}")

    def handle_put(self, payload: PIL.Image.Image) -> PIL.Image.Image:
        return payload.resize((32, 16))

    def handle_patch(self, payload: Upload):
        return {"name": payload.file.filename, "scale": payload.scale}
"""
YAML = """
name: flowers
handler: {path: handler.py, example: {length: 5.1}}
"""


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser with a profile of its own; it fails the test on an error in the page's code."""
    problems: list[str] = []
    with a_browser(width=1280, height=1150) as browser:
        page = browser.pages[0]
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
        yield page
    assert problems == []


def test_an_api_is_tried_out_on_its_page(shell: Shell, write: Callable[[str, str], None], page: Page) -> None:
    write("handler.py", HANDLER)
    write("hatchway.yaml", YAML)
    url = deploy(shell)["endpoint"]
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url))

    page.goto(f"{url}/docs")
    page.wait_for_selector("#payload")
    assert page.title().startswith("flowers")
    assert page.text_content("#summary") == "Name a flower."
    assert json.loads(page.input_value("#payload")) == {"length": 5.1}
    assert "in centimetres" in str(page.text_content("#payload-schema"))
    assert "label" in str(page.text_content("#result-schema"))

    try_json(page)
    try_files(page, an_image(shell.folder))

    before = page.evaluate("document.documentElement.dataset.theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != before
    origin = url.removesuffix("/flowers")
    assert {address for address in asked if not address.startswith((origin, "blob:"))} == set()


def try_json(page: Page) -> None:
    # The example as it is, by the button; the curl line does the same.
    page.click("#send")
    page.wait_for_selector("#status.good")
    assert json.loads(str(page.text_content("#body"))) == {"label": "iris of 5.1"}
    assert "ms" in str(page.text_content("#latency"))
    page.click("text=/Headers/")
    assert page.is_visible("td:text-is('x-request-id')")
    assert sent_by_curl(str(page.text_content("#curl"))).json() == {"label": "iris of 5.1"}

    # A wrong payload, by the keyboard: the answer names the field.
    page.fill("#payload", '{"length": -1}')
    page.press("#payload", "Control+Enter")
    page.wait_for_selector("#status.warn")
    assert json.loads(str(page.text_content("#body")))["error"]["details"][0]["loc"] == ["length"]
    page.fill("#payload", "{")
    assert "not JSON" in str(page.text_content("#note"))


def try_files(page: Page, photo: Path) -> None:
    # An image: a file in, a picture out.
    page.click("button:text-is('PUT')")
    page.set_input_files("#payload", photo)
    page.click("#send")
    page.wait_for_selector("#answer img")
    page.wait_for_function("document.querySelector('#answer img').naturalWidth === 32")

    # A form: a file and a field.
    page.click("button:text-is('PATCH')")
    page.set_input_files("#field-file", photo)
    page.fill("#field-scale", "2.5")
    page.click("#send")
    page.wait_for_selector("#status.good")
    assert json.loads(str(page.text_content("#body"))) == {"name": "photo.png", "scale": 2.5}


def an_image(folder: Path) -> Path:
    sink = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), "teal").save(sink, "PNG")
    (folder / "photo.png").write_bytes(sink.getvalue())
    return folder / "photo.png"


def sent_by_curl(line: str) -> httpx.Response:
    words = shlex.split(line)
    assert (words[0], words[2], words[4]) == ("curl", "-H", "-d")
    name, value = words[3].split(": ")
    return httpx.post(words[1], headers={name: value}, content=words[5])
