"""What is installed in a cluster: the JSON contract of `hatchway cluster`."""

from __future__ import annotations

from hatchway.spec.status import Wire


class PartStatus(Wire):
    """A Deployment of the installation: operators or gateways."""

    name: str
    image: str
    ready: int
    wanted: int
    reason: str = ""  # a word for what stands in the way, such as ImagePullBackOff
    message: str = ""


class ClusterStatus(Wire):
    """`cluster status -o json`."""

    cluster: str  # the address of its API server
    namespace: str
    kubernetes: str  # its version
    version: str  # of Hatchway; "" where nothing says
    installed_by: str  # hatchway or helm
    parts: tuple[PartStatus, ...]
    leader: str  # the operator that decides; "" for none
    gateway: str  # where requests are sent to
    apis: dict[str, int]  # how many there are in each phase
    certificates_end: str  # when the first of them ends; "" where you may not look


class Installed(Wire):
    """`cluster install -o json` and `cluster upgrade -o json`."""

    namespace: str
    version: str  # of Hatchway
    former_version: str  # "" for a first installation
    changed: int  # objects that were made, changed or removed
    gateway: str  # where requests are sent to
