"""`hatchway cluster upgrade`: as `install`, but only what is there already; it names what changes."""

from __future__ import annotations

from hatchway.cli.cluster.connecting import NAMESPACE, ContextOption, NamespaceOption, TimeoutOption, cluster_at
from hatchway.cli.cluster.install import TIMEOUT_S, carry_out
from hatchway.cli.cluster.options import (
    BucketOption,
    BucketSecretOption,
    CacheClaimOption,
    ForceOption,
    GatewayImageOption,
    ImageOption,
    PodMonitorOption,
    PullSecretOption,
    ReplicaImageOption,
    ServiceTypeOption,
    StorageClassOption,
    StorageOption,
    choices_of,
)
from hatchway.cli.output import Format, FormatOption, Output

EXAMPLES = (
    "hatchway cluster upgrade --image registry.example.com/hatchway:2",
    "hatchway cluster upgrade --context prod",
)


def upgrade(  # noqa: PLR0913 (an option each)
    image: ImageOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = NAMESPACE,
    gateway_image: GatewayImageOption = None,
    replica_image: ReplicaImageOption = None,
    pull_secret: PullSecretOption = None,
    service_type: ServiceTypeOption = None,
    bucket: BucketOption = None,
    bucket_secret: BucketSecretOption = None,
    storage: StorageOption = None,
    storage_class: StorageClassOption = None,
    pod_monitor: PodMonitorOption = None,
    cache_claim: CacheClaimOption = None,
    timeout: TimeoutOption = TIMEOUT_S,
    force: ForceOption = False,
    output: FormatOption = Format.table,
) -> None:
    """Bring an installation to this version of Hatchway.

    Requests, keys and what was chosen before are kept; certificates that end within 30 days are issued anew. Every
    field that changes is named.
    """
    choices = choices_of(
        image,
        (gateway_image, replica_image),
        pull_secret,
        service_type=service_type,
        bucket=bucket,
        bucket_secret=bucket_secret,
        storage=storage,
        storage_class=storage_class,
        pod_monitor=pod_monitor,
        cache_claim=cache_claim,
    )
    out = Output.open(output)
    carry_out(out, cluster_at(context, namespace), choices, timeout_s=timeout, force=force, is_upgrade=True)
