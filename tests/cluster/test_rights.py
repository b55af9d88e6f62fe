"""Which rights are asked for, and how those that are missing are named."""

from __future__ import annotations

import pytest

from hatchway.cluster.rights import Right, check_rights, rights_to_install
from hatchway.errors import AccessDenied
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.operator.objects import make_objects
from tests.kubernetes.double import Cluster
from tests.operator.builders import an_installation


def test_every_kind_is_made_and_looked_at_and_what_a_role_gives_must_be_had() -> None:
    rights = rights_to_install(make_objects(an_installation("models")))
    assert Right("apps", "deployments", "create", "models") in rights
    assert Right("apiextensions.k8s.io", "customresourcedefinitions", "patch") in rights
    assert Right("", "pods", "watch", "models") in rights  # to see what becomes of it
    assert Right("", "pods/log", "get", "models") in rights  # in the operator's role
    assert len(rights) == len(set(rights))


async def test_all_that_is_missing_is_named_at_once(cluster: Cluster) -> None:
    token = cluster.access.token("default", "somebody")
    server = ApiServer(connect_to(cluster.url, token))
    asked = [
        Right("apps", "deployments", "create", "models"),
        Right("apps", "deployments", "patch", "models"),
        Right("apiextensions.k8s.io", "customresourcedefinitions", "create"),
        Right("coordination.k8s.io", "leases", "update", "models", "hatchway-operator"),
    ]
    try:
        with pytest.raises(AccessDenied) as caught:
            await check_rights(server, asked, to="install into models")
    finally:
        await server.close()
    assert str(caught.value) == (
        "you may not install into models; what is missing: create, patch deployments.apps in models; "
        "create customresourcedefinitions.apiextensions.k8s.io; "
        "update leases.coordination.k8s.io/hatchway-operator in models"
    )
    admin = ApiServer(connect_to(cluster.url, cluster.token))
    await check_rights(admin, asked, to="install into models")
    await admin.close()
