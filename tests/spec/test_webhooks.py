from __future__ import annotations

from typing import Any

import pytest

from hatchway.errors import InvalidSpec
from hatchway.spec.changes import Version, describe_changes
from hatchway.spec.load import parse_document
from hatchway.spec.webhooks import is_webhook, shown, without_secrets
from tests.spec.builders import a_document, a_source

SLACK = "https://hooks.slack.com/services/T000/B000/hunter2"


@pytest.mark.parametrize("address", [SLACK, "http://127.0.0.1:9000", "http://[::1]:9/x", "https://a.b?key=1"])
def test_addresses_of_webhooks(address: str) -> None:
    assert is_webhook(address)


@pytest.mark.parametrize(
    "text",
    ["", "hooks.slack.com/x", "ftp://a/x", "https://", "https:///x", "https://a b/x", "https://a/x\n", "https://a:0/"],
)
def test_what_is_no_address_of_a_webhook(text: str) -> None:
    assert not is_webhook(text)


@pytest.mark.parametrize("text", ["https://a:99999/", "https://[::1/", "https://a/" + "x" * 3000])
def test_what_no_client_could_ask_is_none_either(text: str) -> None:
    assert not is_webhook(text)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (SLACK, "https://hooks.slack.com/…"),
        ("https://user:pw@a.b:8443/x", "https://a.b:8443/…"),
        ("http://a.b?key=1", "http://a.b/…"),
        ("http://a.b/", "http://a.b"),
    ],
)
def test_of_an_address_only_the_host_is_told(address: str, told: str) -> None:
    assert shown(address) == told


def test_what_a_receiver_repeats_of_its_address_is_not_told() -> None:
    text = without_secrets("no /services/T000/B000/hunter2 here, hunter2! hooks.slack.com", SLACK)
    assert text == "no … here, …! hooks.slack.com"
    assert "s3cret" not in without_secrets("bad key s3cret", "https://a.b/hook?key=s3cret")
    assert "s3cret" not in without_secrets("bad user s3cret", "https://s3cret:x@a.b/hook")


@pytest.mark.parametrize("wrong", ["hooks.slack.com/services/hunter2", "ftp://hunter2"])
def test_a_wrong_address_is_not_told_by_the_error(wrong: str) -> None:
    for document, variables in (
        ({"webhook": wrong}, {}),
        ({"webhook": "${URL}"}, {"URL": wrong}),
    ):
        with pytest.raises(InvalidSpec) as caught:
            parse_document(a_document(monitoring={"alerts": document}), variables)
        assert "must be the address of a webhook" in str(caught.value.problems)
        assert "hunter2" not in str(caught.value.problems)


def test_a_change_of_address_takes_effect_in_place_and_is_told_without_it() -> None:
    def version(webhook: str, variables: dict[str, str]) -> Version:
        document: dict[str, Any] = a_document(monitoring={"alerts": {"webhook": webhook}})
        return Version(parse_document(document, variables), document, a_source(), {})

    for old, new in (
        (version(SLACK, {}), version("https://other.example/hunter2", {})),
        (version("${URL}", {"URL": SLACK}), version("${URL}", {"URL": SLACK + "3"})),
        (version(SLACK, {}), version(SLACK + "3", {})),
    ):
        changes = describe_changes(old, new)
        assert changes.replacing == ()
        assert len(changes.in_place) == 1
        assert "hunter2" not in changes.in_place[0]
