"""The price of sending a parcel. The annotations are all there is to decoding, validation and documentation."""

from typing import Literal

import pandas as pd
from pydantic import BaseModel, Field

EURO_PER_KG = {"home": 0.9, "abroad": 2.6}
FRAGILE_EURO = 3.0


class Parcel(BaseModel):
    """One parcel."""

    weight_kg: float = Field(gt=0, le=31.5, description="with its box")
    to: Literal["home", "abroad"] = "home"
    fragile: bool = False


class Order(BaseModel):
    parcels: list[Parcel] = Field(min_length=1)


class Quote(BaseModel):
    euro: float
    each: list[float]


class Handler:
    def handle_post(self, payload: Order) -> Quote:
        """The price of an order.

        By JSON; what is wrong with it is answered field by field.
        """
        table = pd.DataFrame([parcel.model_dump() for parcel in payload.parcels])
        prices = price(table).tolist()
        return Quote(euro=round(sum(prices), 2), each=prices)

    def handle_put(self, payload: pd.DataFrame) -> pd.DataFrame:
        """The prices of a whole table, which comes and goes as CSV, Parquet, Arrow or JSON records."""
        return payload.assign(euro=price(payload))


def price(parcels: pd.DataFrame) -> pd.Series:
    fragile = parcels["fragile"].astype(bool)
    return (4 + parcels["weight_kg"] * parcels["to"].map(EURO_PER_KG) + FRAGILE_EURO * fragile).round(2)
