"""Replicas as processes of this machine."""

from __future__ import annotations

from hatchway.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
