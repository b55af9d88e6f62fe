"""Columns of pandas' category type that a booster's wrapper was trained on: their texts are its own to translate.

LightGBM, and XGBoost from 3.1 on, keep the categories of then and look up those of a DataFrame; given numbers, they
take them for places in a list that nobody knows.
"""

from __future__ import annotations

from typing import Any

from hatchway.errors import LoadError


def trained_categories(estimator: Any) -> dict[int, tuple[Any, ...]]:
    """Place of a column -> its values, () where they are not told. Raises LoadError (Categories)."""
    package = type(estimator).__module__.partition(".")[0]
    if package == "lightgbm" and hasattr(estimator, "booster_"):
        return _of_lightgbm(estimator.booster_)
    if package == "xgboost" and hasattr(estimator, "get_booster"):
        return _of_xgboost(estimator.get_booster())
    return {}


def _of_lightgbm(booster: Any) -> dict[int, tuple[Any, ...]]:
    values = booster.pandas_categorical or []
    places = (booster.params or {}).get("categorical_column") or []
    if not values:
        return {}
    if len(places) != len(values):
        raise _unknown("the LightGBM model does not say which of its columns are categories")
    return {int(place): tuple(each) for place, each in zip(places, values, strict=True)}


def _of_xgboost(booster: Any) -> dict[int, tuple[Any, ...]]:
    places = [place for place, kind in enumerate(booster.feature_types or ()) if kind == "c"]
    if places and not hasattr(booster, "get_categories"):
        raise _unknown("XGBoost before 3.1 does not keep the categories of a DataFrame")
    try:
        told = booster.get_categories(export_to_arrow=True).to_arrow() if places else []
    except ImportError:  # pyarrow: without it they are not told, and translated all the same
        told = [("", None)] * (max(places) + 1)
    return {place: tuple(told[place][1].to_pylist()) if told[place][1] is not None else () for place in places}


def _unknown(message: str) -> LoadError:
    return LoadError(
        message, reason="Categories", hint="put an encoder before the model in a Pipeline, or write a handler.py"
    )
