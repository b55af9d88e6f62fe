"""The values of `${VAR}` references in a cluster: in Secrets that a deploy names, and nowhere else.

`spec.source.variables_secret` names one. It has to be immutable, since a revision is: other values are another Secret.
So there is nothing to write, and the next leader reads the Secrets that its revisions name.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping

from hatchway.errors import InvalidSpec, NotFound
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.names import API, common_labels
from hatchway.kubernetes.resources import SECRETS, Json
from hatchway.store.sqlite import RevisionRecord

log = logging.getLogger(__name__)

FIELD = "spec.source.variables_secret"


class SecretVariables:
    """What `store.variables.Variables` is on one machine; `secret` is one that all operators share."""

    def __init__(self, server: ApiServer, secret: str) -> None:
        self._server = server
        self._key = variables_key(secret)
        self._values: dict[tuple[str, str], Mapping[str, str]] = {}

    async def read(self, name: str) -> dict[str, str]:
        """Raises NotFound while there is no such Secret, InvalidSpec for one whose values could change."""
        found = await self._server.find(SECRETS, name)
        if found is None:
            raise NotFound(f"{FIELD}: there is no Secret {name}", hint="it has the values of ${VAR} references")
        if not found.get("immutable"):
            raise InvalidSpec(
                f"{FIELD}: the Secret {name} is not immutable",
                hint="set immutable: true; other values are another Secret, and so another revision",
            )
        return {key: b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    async def recall(self, revisions: Iterable[RevisionRecord]) -> None:
        """What revisions that are kept refer to. One whose Secret is gone cannot be started any more."""
        for revision in revisions:
            name = revision.source.variables_secret
            if name is None:
                continue
            try:
                self.save(revision.api, revision.id, await self.read(name))
            except (NotFound, InvalidSpec) as exc:
                log.warning("revision %s of %s: %s", revision.id, revision.api, exc)

    # --- as on one machine -------------------------------------------------------------------------------
    def save(self, api: str, revision: str, values: Mapping[str, str]) -> None:
        self._values[api, revision] = dict(values)

    def load(self, api: str, revision: str) -> dict[str, str]:
        return dict(self._values.get((api, revision), {}))

    def key(self) -> bytes:
        return self._key

    def remove(self, api: str) -> None:
        self.prune([key for key in self._values if key[0] != api])

    def prune(self, keep: Collection[tuple[str, str]]) -> None:
        self._values = {key: values for key, values in self._values.items() if key in keep}


def variables_key(secret: str) -> bytes:
    """Of digests that tell nobody anything of what they are made of."""
    return hmac.new(secret.encode(), b"values of variables", hashlib.sha256).digest()


def make_variables_secret(api: str, values: Mapping[str, str], key: bytes, owner: Json | None = None) -> Json:
    """As to be applied for a deploy. The same values have the same name."""
    digest = hmac.new(key, json.dumps(sorted(values.items())).encode(), hashlib.sha256).hexdigest()[:12]
    metadata: Json = {"name": f"{api}-variables-{digest}", "labels": {**common_labels("variables"), API: api}}
    if owner is not None:
        parts = {name: owner["metadata"][name] for name in ("name", "uid")}
        metadata["ownerReferences"] = [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], **parts}]
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": metadata,
        "immutable": True,
        "data": {name: b64encode(value.encode()).decode() for name, value in values.items()},
    }
