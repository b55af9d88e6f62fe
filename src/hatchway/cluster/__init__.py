"""Hatchway in a cluster as a whole: installing, upgrading, looking at and removing it, as `hatchway cluster` does.

Only the commands use it. What an installation consists of is said by `hatchway.operator.objects`.
"""
