"""What may go and what somebody still names."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import LocalStore

from hatchway.kubernetes.resources import Json
from hatchway.operator.tidying import ClaimedBlobs
from hatchway.store.bucket import UNCLAIMED_S, Bucket


async def content(text: bytes) -> AsyncIterator[bytes]:
    yield text


def sha256_of(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def naming(*hashes: str) -> Json:
    return {"spec": {"source": {"files": [{"path": "a", "sha256": each} for each in hashes]}}}


async def test_what_a_resource_names_stays_though_it_was_never_accepted(tmp_path: Path) -> None:
    bucket = Bucket(LocalStore(tmp_path), wall_clock=lambda: time.time() + UNCLAIMED_S + 60)
    resources = [naming(sha256_of(b"claimed"))]
    blobs = ClaimedBlobs(bucket, lambda: resources)
    everything = [b"kept", b"claimed", b"nobody's"]
    for text in everything:
        await blobs.add_async_stream(sha256_of(text), content(text))
    assert blobs.prune({sha256_of(b"kept")}) == len(b"nobody's")
    assert blobs.missing([sha256_of(text) for text in everything]) == [sha256_of(b"nobody's")]


@pytest.mark.parametrize(
    "spec", [None, {}, {"source": None}, {"source": {"files": 3}}, {"source": {"files": [{}]}}], ids=str
)
def test_a_resource_of_another_shape_claims_nothing_and_stops_nobody(tmp_path: Path, spec: Json | None) -> None:
    assert ClaimedBlobs(Bucket(LocalStore(tmp_path)), lambda: [{"spec": spec}]).prune(set()) == 0
