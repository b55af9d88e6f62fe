"""The peer: FastAPI on uvicorn, without a gateway."""

from typing import Any

from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/echo")
async def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


@app.post("/size")
async def size(request: Request) -> int:
    return len(await request.body())
