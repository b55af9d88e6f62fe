"""Who sent a request, by its headers and its other end."""

from __future__ import annotations

import pytest

from hatchway.control_api.callers import Caller


def a_caller(**fields: str | None) -> Caller:
    defaults: dict[str, str | None] = {
        "method": "GET",
        "host": "127.0.0.1:8485",
        "origin": None,
        "fetch_site": None,
        "bearer": None,
        "cookies": "",
        "peer": "127.0.0.1",
    }
    return Caller(**{**defaults, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False)],
)
def test_this_machine_is_known_by_its_address(peer: str, is_local: bool) -> None:
    assert a_caller(peer=peer).is_local is is_local


@pytest.mark.parametrize("host", ["127.0.0.1:8485", "192.168.1.20:8485", "[fe80::1]:80", "LOCALHOST:1", "box:8485"])
def test_addresses_and_our_own_names_are_known(host: str) -> None:
    assert a_caller(host=host).knows_us({"box"})


@pytest.mark.parametrize("host", ["", "evil.example.com", "127.0.0.1.evil.com", "localhost.evil.com:8485", "[box]:1x"])
def test_other_names_are_not(host: str) -> None:
    assert not a_caller(host=host).knows_us({"other"})


def test_a_proxy_that_ends_tls_does_not_make_a_page_foreign() -> None:
    caller = a_caller(method="POST", host="127.0.0.1", origin="https://127.0.0.1", fetch_site="same-origin")
    assert caller.is_ours()


def test_ours_is_found_among_cookies_of_other_servers_whatever_they_wrote() -> None:
    cookies = 'a={"x": "1"}; hatchway_x=2; b[]={\x00; hatchway_x=3; c'
    assert a_caller(cookies=cookies).cookies_named("hatchway_x") == ["2", "3"]
    assert a_caller(cookies=cookies).cookies_named("hatchway_y") == []
