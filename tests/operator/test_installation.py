"""What an installation says of replicas gets to the operator whole."""

from __future__ import annotations

import pytest

from hatchway.backends.kubernetes.manifests import ReplicaPods
from hatchway.errors import UsageError
from hatchway.operator.installation import PODS_VARIABLE, read_pods, write_pods

EVERYTHING = ReplicaPods(
    image="registry/replica:1",
    pull_secrets=("registry",),
    node_selector={"pool": "models"},
    tolerations=({"key": "models", "operator": "Exists"},),
    spot=("karpenter.sh/capacity-type", "spot"),
)


@pytest.mark.parametrize("pods", [ReplicaPods(image="x:1"), EVERYTHING])
def test_pods_are_read_as_they_were_written(pods: ReplicaPods) -> None:
    assert ReplicaPods(**read_pods({PODS_VARIABLE: write_pods(pods)})) == pods


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "not set"),
        ({PODS_VARIABLE: "nonsense"}, "cannot be read"),
        ({PODS_VARIABLE: "[1]"}, "cannot be read"),
        ({PODS_VARIABLE: '{"imag": "x"}'}, "unknown fields: imag"),
    ],
)
def test_what_is_wrong_is_named_with_who_sets_it(environ: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read_pods(environ)
    assert "cluster install" in str(caught.value.hint)
