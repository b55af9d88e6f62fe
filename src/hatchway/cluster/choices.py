"""What somebody chose for an installation, and how the cluster remembers it: upgrades say only what changes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hatchway import __version__
from hatchway.backends.kubernetes.manifests import ReplicaPods
from hatchway.errors import UsageError
from hatchway.kubernetes.names import common_labels
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import Installation, Keys

RECORD = "hatchway-installation"  # a ConfigMap
_CHOICES, _VERSION, _PARTS = "choices.json", "version", "parts.json"


@dataclass(frozen=True)
class Choices:
    """None: nothing was said of it. `image` is for all pods that have no image of their own."""

    image: str | None = None
    gateway_image: str | None = None
    replica_image: str | None = None
    pull_secrets: tuple[str, ...] | None = None
    service_type: str | None = None
    bucket: str | None = None
    bucket_secret: str | None = None
    storage: str | None = None
    storage_class: str | None = None
    pod_monitor: bool | None = None
    cache_claim: str | None = None

    def over(self, former: Choices) -> Choices:
        """These, and of the former ones what these say nothing of."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(former, **said)

    def to_installation(self, namespace: str, keys: Keys) -> Installation:
        """Raises UsageError when something is missing that has no default."""
        if not self.image:
            raise UsageError(
                "--image is missing: the cluster has to pull Hatchway from somewhere",
                hint="scripts/images builds images; push them to a registry that the cluster can pull from",
            )
        if self.bucket and not self.bucket.startswith("s3://"):
            raise UsageError(
                f"--bucket {self.bucket}: not the address of a bucket", hint="s3://BUCKET or s3://BUCKET/PREFIX"
            )
        said: dict[str, Any] = {
            name: value
            for name in ("service_type", "bucket", "bucket_secret", "storage", "storage_class", "pod_monitor")
            if (value := getattr(self, name)) is not None
        }
        return Installation(
            namespace=namespace,
            operator_image=self.image,
            gateway_image=self.gateway_image or self.image,
            pods=ReplicaPods(
                image=self.replica_image or self.image,
                pull_secrets=self.pull_secrets or (),
                cache_claim=self.cache_claim or None,
            ),
            keys=keys,
            **said,
        )


def make_record(choices: Choices, namespace: str, parts: Sequence[Json]) -> Json:
    """`parts` are the objects that the installation consists of."""
    said = {name: value for name, value in asdict(choices).items() if value is not None}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": namespace, "labels": common_labels("operator")},
        "data": {
            _VERSION: __version__,
            _CHOICES: json.dumps(said),
            _PARTS: json.dumps([key_of(each) for each in parts]),
        },
    }


def read_choices(record: Json | None) -> Choices:
    """Choices that a newer version wrote and we do not know are left out."""
    said: Mapping[str, Any] = json.loads(((record or {}).get("data") or {}).get(_CHOICES) or "{}")
    known = {each.name for each in fields(Choices)}
    kept = {name: value for name, value in said.items() if name in known}
    if "pull_secrets" in kept:
        kept["pull_secrets"] = tuple(kept["pull_secrets"])
    return Choices(**kept)


def key_of(obj: Json) -> str:
    """Kind and name: "Deployment/hatchway-operator"."""
    return f"{obj['kind']}/{obj['metadata']['name']}"


def read_parts(record: Json | None) -> list[str]:
    """Keys of the objects that it consisted of."""
    return [str(each) for each in json.loads(((record or {}).get("data") or {}).get(_PARTS) or "[]")]


def read_version(record: Json | None) -> str:
    """Of Hatchway; "" where nothing says."""
    return str(((record or {}).get("data") or {}).get(_VERSION, ""))
