"""A Kubernetes API server, its controllers and a kubelet, small, for tests: real HTTP, real watches, real processes.

It knows what reference clusters do that other emulators do not: field ownership, strategic merges by key, watches from
a version, conflicts. `tests/kubernetes/test_contract.py` says what it must do, and runs against a real server too:
a behaviour that our code relies on belongs there first.
"""

from tests.kubernetes.double.cluster import Cluster, a_cluster
from tests.kubernetes.double.faults import Fault

__all__ = ["Cluster", "Fault", "a_cluster"]
