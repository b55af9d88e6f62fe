"""`hatchway cluster install`: apply what an installation consists of, and wait until it runs; or print it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.cluster.connecting import NAMESPACE, ContextOption, NamespaceOption, TimeoutOption, cluster_at
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
from hatchway.cli.output import Cell, Format, FormatOption, Output

if TYPE_CHECKING:
    from hatchway.cli.cluster.connecting import Cluster
    from hatchway.cluster.choices import Choices

EXAMPLES = (
    "hatchway cluster install --image registry.example.com/hatchway:1",
    "hatchway cluster install --context prod --image registry.example.com/hatchway:1 --service-type LoadBalancer",
    "hatchway cluster install --image registry.example.com/hatchway:1 --dry-run -o yaml",
)

TIMEOUT_S = 300.0


def install(  # noqa: PLR0913 (an option each)
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show all objects (whole with -o yaml), and ask no cluster.")
    ] = False,
    output: FormatOption = Format.table,
) -> None:
    """Install Hatchway in a cluster, or make an installation what is said here.

    What an earlier run said stays unless this one says otherwise; so do keys and certificates. With --dry-run
    they are made anew each time: keep what it prints.
    """
    out = Output.open(output)
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
    if dry_run:
        print_objects(out, choices, namespace)
    else:
        carry_out(out, cluster_at(context, namespace), choices, timeout_s=timeout, force=force)


def print_objects(out: Output, choices: Choices, namespace: str) -> None:
    import time

    from hatchway.cli.cluster.connecting import needs_extra

    with needs_extra():
        from hatchway.cluster.installing import objects_of

    objects, _ = objects_of(choices, namespace, {}, time.time())
    if out.form is Format.json:
        out.data({"apiVersion": "v1", "kind": "List", "items": objects})
    elif out.form is Format.yaml:
        for obj in objects:
            out.item(obj)
    else:
        out.table(["KIND", "NAME"], [[each["kind"], each["metadata"]["name"]] for each in objects])


def carry_out(
    out: Output, cluster: Cluster, choices: Choices, *, timeout_s: float, force: bool, is_upgrade: bool = False
) -> None:
    """Also for `upgrade`."""
    import time

    from hatchway.cluster.installing import Wish, install

    def tell(text: str) -> None:
        out.note(Cell(text, "dim"))

    tell(f"{'upgrading' if is_upgrade else 'installing'} in {cluster} …")
    wish = Wish(choices, timeout_s=timeout_s, force=force, is_upgrade=is_upgrade)
    done = cluster.run(lambda server: install(server, wish, time.time(), tell))
    if not out.is_table:
        out.data(done)
        return
    what = "unchanged" if not done.changed else "updated" if done.former_version else "installed"
    since = f" (was {done.former_version})" if done.former_version not in ("", done.version) else ""
    out.line(Cell(what, "green"), f"   hatchway {done.version}{since} in {cluster}")
    out.line(f"gateway   {done.gateway}")
    if what == "installed":
        named = f"--context {cluster.name} --namespace {cluster.namespace}"
        out.note(Cell(f"have commands act on it: hatchway env add prod {named}", "dim"))
