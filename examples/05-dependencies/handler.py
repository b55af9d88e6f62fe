"""Renders Markdown to HTML with packages that are older than the ones Hatchway runs on."""

import markdown_it
import orjson
import pydantic


class Document(pydantic.BaseModel):
    text: str
    allow_html: bool = False

    @pydantic.validator("text")  # the spelling of pydantic 1
    def not_empty(cls, text):
        if not text.strip():
            raise ValueError("there is nothing to render")
        return text


class Handler:
    def __init__(self, config):
        self.versions = {
            "pydantic": pydantic.VERSION,
            "markdown-it-py": markdown_it.__version__,
            "orjson": orjson.__version__,
        }

    def handle_post(self, payload):
        document = Document.parse_obj(payload)
        renderer = markdown_it.MarkdownIt("commonmark", {"html": document.allow_html})
        return {"html": renderer.render(document.text), "versions": self.versions}
