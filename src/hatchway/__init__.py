"""Hatchway: from a trained model to a production web service."""

from __future__ import annotations

__version__ = "0.1.0"
