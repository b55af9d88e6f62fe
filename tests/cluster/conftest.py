from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.running import STORAGE_CLASS, Admin, put
from tests.kubernetes.double import Cluster, a_cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Nobody runs its pods."""
    with a_cluster() as cluster:
        put(cluster, STORAGE_CLASS)
        yield cluster


@pytest.fixture
def admin(cluster: Cluster, tmp_path: Path) -> Admin:
    return Admin(cluster, tmp_path)
