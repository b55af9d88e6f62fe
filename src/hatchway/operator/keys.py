"""Which keys an installation has: those that are in the cluster, and new ones for what is missing or about to end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from hatchway.kubernetes.certificates import Certified, is_due, issue, make_authority, names_of, service_names
from hatchway.kubernetes.names import TOKEN_SECRET, TOKEN_SECRET_KEY
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import Keys
from hatchway.operator.secrets import (
    AUTHORITY_SECRET,
    FILES_TOKEN,
    GATEWAY_TLS,
    OPERATOR_SECRET,
    OPERATOR_TLS,
    read_certified,
    read_secret,
)
from hatchway.operator.tokens import HASHES_SECRET, SESSION_KEY, new_token


def keep_or_make(found: Mapping[str, Json], namespace: str, now_s: float) -> tuple[Keys, list[str]]:
    """`found` are those of KEPT_SECRETS that are there. Also says what is made anew although there was one, and why."""
    news: list[str] = []
    authority = read_certified(read_secret(found.get(AUTHORITY_SECRET)), "ca")
    if authority is not None and _is_bad(authority, (), now_s):
        news.append("the authority is made anew: it ends soon, or cannot be read")
        authority = None
    is_new = authority is None
    authority = authority or make_authority(now_s)

    def issued(secret: str, service: str) -> Certified:
        names = service_names(service, namespace)
        own = read_certified(read_secret(found.get(secret)), "tls")
        if own is not None and not is_new and not _is_bad(own, names, now_s):
            return own
        if own is not None:
            news.append(f"the certificate in {secret} is issued anew")
        return issue(authority, names, now_s)

    keys = Keys(
        files_token=read_secret(found.get(OPERATOR_SECRET)).get(FILES_TOKEN) or secrets.token_urlsafe(24),
        control_token=read_secret(found.get(TOKEN_SECRET)).get(TOKEN_SECRET_KEY) or new_token(),
        session_key=read_secret(found.get(HASHES_SECRET)).get(SESSION_KEY) or new_token(),
        authority=authority,
        operator=issued(OPERATOR_TLS, "hatchway-operator"),
        gateway=issued(GATEWAY_TLS, "hatchway-gateway"),
    )
    return keys, news


def _is_bad(certified: Certified, names: Sequence[str], now_s: float) -> bool:
    try:
        is_other = bool(names) and not set(names) <= set(names_of(certified.certificate))
        return is_other or is_due(certified.certificate, now_s)
    except ValueError:
        return True
