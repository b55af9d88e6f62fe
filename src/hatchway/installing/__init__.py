"""Installing into Python environments, wherever that is done: what `uv` is asked for, and what it says when it cannot.

Standard library only: it runs on one machine in the engine, and in a cluster in each pod, on the Python of its image.
"""
