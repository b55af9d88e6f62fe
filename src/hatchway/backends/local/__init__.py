"""Replicas as processes of this machine: `LocalBackend` and the modules it is made of.

What may live here: everything about processes, memory, GPUs, Python environments and logs of one machine. What may
not: how many replicas there should be, and what the gateway does with them.
"""

from hatchway.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
