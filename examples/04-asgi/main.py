"""Estimates how long a delivery takes. An ordinary FastAPI application: nothing in it knows about Hatchway."""

import json
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel, Field

model: dict[str, float] = {}


@asynccontextmanager
async def lifespan(app: FastAPI):
    # A replica is ready when this has run, so no request ever sees an application without its model.
    model.update(json.loads(Path("model.json").read_text()))
    yield


class Delivery(BaseModel):
    distance_km: float = Field(gt=0, le=200)
    items: int = Field(default=1, ge=1)


class Estimate(BaseModel):
    minutes: float


app = FastAPI(title="Delivery times", lifespan=lifespan)


@app.post("/estimate")
async def estimate(delivery: Delivery) -> Estimate:
    minutes = (
        model["base_minutes"]
        + model["minutes_per_km"] * delivery.distance_km
        + model["minutes_per_item"] * delivery.items
    )
    return Estimate(minutes=round(minutes, 1))


@app.get("/model")
async def show_model() -> dict[str, float]:
    return model
