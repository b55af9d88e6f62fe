"""`hatchway.deploy()`: from a fitted model, a function or a class in a script or a notebook to a live API.

What is deployed becomes a project like any other, in a folder that is there for as long as it is read: a model's file,
or a handler.py made of the source of what was given and of all that it uses. Nothing here serves; replicas know nothing
of this package.
"""

from hatchway.interactive.deploying import deploy
from hatchway.interactive.deployment import Deployment

__all__ = ["Deployment", "deploy"]
