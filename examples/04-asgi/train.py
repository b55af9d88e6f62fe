"""Fits a linear model to deliveries it makes up, with the standard library alone, and saves it as model.json."""

import json
import random
from pathlib import Path
from statistics import linear_regression

random.seed(7)

# Made up with 12 minutes to start, 3 per kilometre and 1.5 per item, and some noise on top.
deliveries = [(random.uniform(0.5, 20), random.randint(1, 8)) for _ in range(2000)]
minutes = [12 + 3 * km + 1.5 * items + random.gauss(0, 4) for km, items in deliveries]

# Distance and items are independent here, so each can be fitted by itself.
per_km = linear_regression([km for km, _ in deliveries], minutes).slope
rest = [m - per_km * km for m, (km, _) in zip(minutes, deliveries, strict=True)]
per_item, base = linear_regression([items for _, items in deliveries], rest)

model = {"base_minutes": round(base, 2), "minutes_per_km": round(per_km, 2), "minutes_per_item": round(per_item, 2)}
Path("model.json").write_text(json.dumps(model))
print(f"fitted on {len(deliveries)} deliveries, saved model.json: {model}")
