"""What was chosen is remembered, and an upgrade says only what changes."""

from __future__ import annotations

import json

import pytest

from hatchway import __version__
from hatchway.cluster.choices import Choices, make_record, read_choices, read_parts, read_version
from hatchway.errors import UsageError
from hatchway.operator.objects import make_objects
from tests.kubernetes.published import validate
from tests.operator.builders import an_installation, some_keys

CHOSEN = Choices(image="registry/hatchway:1", pull_secrets=("registry",), service_type="NodePort")


def test_they_are_read_as_they_were_written() -> None:
    parts = make_objects(an_installation())
    record = make_record(CHOSEN, "models", parts)
    validate(record)
    assert read_choices(record) == CHOSEN
    assert read_version(record) == __version__
    assert "Deployment/hatchway-operator" in read_parts(record)
    assert (read_choices(None), read_version(None), read_parts(None)) == (Choices(), "", [])


def test_what_a_newer_version_wrote_is_left_out() -> None:
    record = make_record(CHOSEN, "models", [])
    record["data"]["choices.json"] = json.dumps({"image": "x:1", "moons": 2})
    assert read_choices(record) == Choices(image="x:1")


def test_what_is_said_wins_over_what_was_chosen() -> None:
    said = Choices(image="registry/hatchway:2", pull_secrets=())
    chosen = said.over(CHOSEN)
    assert chosen == Choices(image="registry/hatchway:2", pull_secrets=(), service_type="NodePort")


def test_one_image_is_for_all_that_have_no_other() -> None:
    installation = Choices(image="x:1", replica_image="replica:1").to_installation("models", some_keys("models"))
    assert (installation.operator_image, installation.gateway_image) == ("x:1", "x:1")
    assert installation.pods.image == "replica:1"
    assert installation.storage == "20Gi"


def test_without_an_image_there_is_nothing_to_pull() -> None:
    with pytest.raises(UsageError, match="--image"):
        Choices().to_installation("models", some_keys("models"))


def test_replicas_share_a_cache_when_it_is_named_and_no_more_when_that_is_taken_back() -> None:
    chosen = Choices(image="x:1", cache_claim="cache")
    assert chosen.to_installation("m", some_keys("m")).pods.cache_claim == "cache"
    assert Choices(cache_claim="").over(chosen).to_installation("m", some_keys("m")).pods.cache_claim is None


def test_a_bucket_has_an_address() -> None:
    installation = Choices(image="x:1", bucket="s3://models", bucket_secret="keys").to_installation("m", some_keys("m"))
    assert (installation.bucket, installation.bucket_secret) == ("s3://models", "keys")
    with pytest.raises(UsageError, match="--bucket models: not the address"):
        Choices(image="x:1", bucket="models").to_installation("m", some_keys("m"))
