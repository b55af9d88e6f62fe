"""Who asks, and whether they may: tokens, and the rules of roles that are bound to service accounts."""

from __future__ import annotations

import secrets

from tests.kubernetes.double.failures import Refused
from tests.kubernetes.double.kinds import Kind
from tests.kubernetes.double.objects import Objects
from tests.kubernetes.double.schemas import Json

ADMIN = "admin"
_GROUP = "rbac.authorization.k8s.io"


class Access:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.admin_token = secrets.token_hex(8)
        self._users = {self.admin_token: ADMIN}

    def token(self, namespace: str, service_account: str) -> str:
        """A token for a service account."""
        token = secrets.token_hex(8)
        self._users[token] = f"{namespace}:{service_account}"
        return token

    def user(self, authorization: str) -> str:
        """ "" for a token that is not known."""
        return self._users.get(authorization.removeprefix("Bearer "), "")

    def check(self, user: str, verb: str, kind: Kind, namespace: str, name: str, sub: str) -> None:
        """Raises Refused (403)."""
        resource = "/".join(filter(None, (kind.plural, sub)))
        if not self.allows(user, verb, kind.group, resource, namespace, name):
            message = f'{kind.resource} is forbidden: User "{user}" cannot {verb} resource "{resource}"'
            raise Refused(403, "Forbidden", f'{message} in API group "{kind.group}" in the namespace "{namespace}"')

    def allows(self, user: str, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool:
        if user == ADMIN:
            return True
        return any(_matches(rule, verb, group, resource, name) for rule in self._rules(user, namespace))

    def _rules(self, user: str, namespace: str) -> list[Json]:
        rules = []
        for plural in ("clusterrolebindings", "rolebindings"):
            for binding in self._objects.all((_GROUP, plural)):
                here = binding["metadata"].get("namespace")
                subjects = [f"{each.get('namespace')}:{each['name']}" for each in binding.get("subjects", ())]
                if user in subjects and here in (None, namespace):
                    ref = binding["roleRef"]
                    is_global = ref["kind"] == "ClusterRole"
                    key = (_GROUP, "clusterroles" if is_global else "roles")
                    role = self._objects.get(key, ("" if is_global else str(here), ref["name"]))
                    rules += (role or {}).get("rules", [])
        return rules


def _matches(rule: Json, verb: str, group: str, resource: str, name: str) -> bool:
    def has(part: str, value: str) -> bool:
        return value in rule.get(part, ()) or "*" in rule.get(part, ())

    is_named = not rule.get("resourceNames") or name in rule["resourceNames"]
    return has("verbs", verb) and has("apiGroups", group) and has("resources", resource) and is_named
