"""What an installation is keyed with is made once, and renewed in time."""

from __future__ import annotations

from base64 import b64encode

from hatchway.kubernetes.certificates import CERTIFICATE_DAYS, ends_at_s, names_of
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import Keys
from hatchway.operator.keys import keep_or_make
from hatchway.operator.secrets import (
    AUTHORITY_SECRET,
    GATEWAY_TLS,
    KEPT_SECRETS,
    OPERATOR_SECRET,
    make_secrets,
    told_of,
)
from hatchway.operator.tokens import make_token_secrets
from tests.operator.builders import some_keys

NOW_S = 1_800_000_000.0
DAY_S = 86400.0


def kept(keys: Keys) -> dict[str, Json]:
    made = [*make_secrets(keys), *make_token_secrets(keys.control_token, keys.session_key)]
    return {each["metadata"]["name"]: each for each in made}


def test_all_of_them_are_looked_for() -> None:
    assert set(kept(some_keys())) == set(KEPT_SECRETS)


def test_the_first_ones_are_made_for_the_namespace() -> None:
    keys, news = keep_or_make({}, "models", NOW_S)
    assert news == []
    assert "hatchway-operator.models.svc" in names_of(keys.operator.certificate)
    assert "hatchway-gateway.models.svc" in names_of(keys.gateway.certificate)
    assert len(keys.files_token) >= 32
    assert keys.files_token not in repr(keys)


def test_what_is_there_is_kept() -> None:
    first, _ = keep_or_make({}, "models", NOW_S)
    assert keep_or_make(kept(first), "models", NOW_S + DAY_S) == (first, [])


def test_certificates_that_end_soon_are_issued_anew_by_the_same_authority() -> None:
    first, _ = keep_or_make({}, "models", NOW_S)
    later_s = NOW_S + (CERTIFICATE_DAYS - 29) * DAY_S
    second, news = keep_or_make(kept(first), "models", later_s)
    assert second.authority == first.authority
    assert second.files_token == first.files_token
    assert ends_at_s(second.operator.certificate) > later_s + 700 * DAY_S
    assert told_of(second.operator) != told_of(first.operator)
    assert [each.split(" is ")[0] for each in news] == [
        "the certificate in hatchway-operator-tls",
        "the certificate in hatchway-gateway-tls",
    ]


def test_what_is_missing_broken_or_for_others_is_made_anew_and_said() -> None:
    first, _ = keep_or_make({}, "models", NOW_S)
    secrets = kept(first)
    del secrets[OPERATOR_SECRET]
    secrets[GATEWAY_TLS]["data"]["tls.crt"] = b64encode(b"nonsense").decode()
    second, news = keep_or_make(secrets, "models", NOW_S)
    assert second.operator == first.operator
    assert second.files_token != first.files_token
    assert "hatchway-gateway-tls" in news[0]
    moved, news = keep_or_make(kept(first), "elsewhere", NOW_S)
    assert len(news) == 2
    assert "hatchway-operator.elsewhere.svc" in names_of(moved.operator.certificate)


def test_a_new_authority_means_new_certificates() -> None:
    secrets = kept(some_keys())
    del secrets[AUTHORITY_SECRET]
    second, news = keep_or_make(secrets, "default", NOW_S)
    assert second.operator != some_keys().operator
    assert len(news) == 2
