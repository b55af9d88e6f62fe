"""What can be chosen of an installation, by `install` and `upgrade` alike. What is not said stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from hatchway.cluster.choices import Choices

ImageOption = Annotated[
    str | None, typer.Option(metavar="IMAGE", help="For operators, and for gateways and replicas that have no other.")
]
GatewayImageOption = Annotated[str | None, typer.Option(metavar="IMAGE", help="For gateways.")]
ReplicaImageOption = Annotated[str | None, typer.Option(metavar="IMAGE", help="For replicas.")]
PullSecretOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A Secret of the namespace that opens the registry; may be repeated."),
]
ServiceTypeOption = Annotated[
    Literal["ClusterIP", "NodePort", "LoadBalancer"] | None,
    typer.Option(help="Of the gateway. Default: ClusterIP, not reached from outside."),
]
BucketOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where projects' files are kept: s3://BUCKET/PREFIX. Default: a volume."),
]
BucketSecretOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A Secret of the namespace with AWS_ACCESS_KEY_ID and the like for the bucket."),
]
StorageOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Of the volume for projects' files. Default: 20Gi.")
]
StorageClassOption = Annotated[str | None, typer.Option(metavar="NAME", help="Of that volume. Default: the cluster's.")]
CacheClaimOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A volume claim that replicas share for files and Python environments. Default: each its own.",
    ),
]
PodMonitorOption = Annotated[
    bool | None,
    typer.Option("--pod-monitor/--no-pod-monitor", help="Have the Prometheus operator ask gateways for metrics."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Set back what others have changed of it.")]


def choices_of(
    image: str | None, others: tuple[str | None, str | None], pull_secret: list[str] | None, **said: Any
) -> Choices:
    """`others` are the images of gateways and replicas."""
    from hatchway.cluster.choices import Choices

    gateway_image, replica_image = others
    secrets = None if pull_secret is None else tuple(pull_secret)
    return Choices(image=image, gateway_image=gateway_image, replica_image=replica_image, pull_secrets=secrets, **said)
