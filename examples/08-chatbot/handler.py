"""A chatbot that streams its answer word by word, in the form that OpenAI's clients speak.

POST /chatbot/v1/chat/completions  {"messages": [{"role": "user", "content": "..."}], "stream": true}
GET  /chatbot                      a page to talk to it
"""

import asyncio
import time
from pathlib import Path

from language_model import LanguageModel
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse


class Handler:
    def __init__(self, config, metrics_client):
        self.model = LanguageModel.load(config["model"])
        self.pause_s = 1 / config["words_per_s"]
        self.metrics = metrics_client
        self.page = Path("index.html").read_text()

    async def handle_get(self):
        return HTMLResponse(self.page)

    async def handle_post(self, payload, request_id):
        try:
            question = [m["content"] for m in payload["messages"] if m["role"] == "user"][-1]
        except (KeyError, IndexError, TypeError):
            message = 'send {"messages": [{"role": "user", "content": "..."}]}'
            return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, 400)
        words = self.generate(question, float(payload.get("temperature", 0)), int(payload.get("max_tokens", 80)))
        about = {"id": request_id, "created": int(time.time()), "model": "small"}
        if payload.get("stream"):
            return StreamingResponse(self.chunks(words, about), media_type="text/event-stream")
        text = "".join([word async for word in words])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {**about, "object": "chat.completion", "choices": [choice]}

    async def generate(self, question, temperature, max_words):
        """The words of the answer. When the caller leaves, this ends where it waits, and so does the work."""
        n_words, said = 0, "stopped after"
        try:
            for word in self.model.generate(question, temperature, max_words):
                n_words += 1
                yield word
                await asyncio.sleep(self.pause_s)  # a model of this size would be done before you see it
            said = "said"
        finally:
            print(f"{said} {n_words} words")
            self.metrics.increment("words_said", n_words)

    async def chunks(self, words, about):
        about = {**about, "object": "chat.completion.chunk"}
        async for word in words:
            yield {**about, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        yield {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        yield "data: [DONE]\n\n"
