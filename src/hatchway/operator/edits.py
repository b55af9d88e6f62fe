"""Edits of RealtimeAPIs that commands ask for: tried on the API server, written, and given to the controller.

A deploy is tried with all of its APIs before any of it is written. What others have set stays theirs unless it is
taken over with force.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hatchway.controller.controller import Controller
from hatchway.errors import Conflict, EngineUnavailable, InvalidSpec, NotFound
from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.operator.custom_resources import to_document
from hatchway.operator.sync import Sync
from hatchway.operator.variables import SecretVariables, make_variables_secret
from hatchway.operator.wishes import MANAGER, to_patch, to_resource
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.status import DeployResult


class Edits:
    """Every method may raise Conflict, InvalidSpec, NotFound, TimedOut and EngineUnavailable."""

    def __init__(self, server: ApiServer, controller: Controller, sync: Sync, variables: SecretVariables) -> None:
        self._server = server
        self._controller = controller
        self._sync = sync
        self._variables = variables

    @property
    def namespace(self) -> str:
        return self._server.namespace

    async def try_out(self, request: DeployRequest, by: str) -> Sequence[DeployResult]:
        """What would become of it, with what others have set, and nothing is written."""
        documents = []
        for each in request.apis:
            would_be = await self._apply(self._resource(each, by), force=request.force, dry_run=True)
            documents.append(to_document(would_be).model_copy(update={"variables": each.variables}))
        tried = DeployRequest(apis=tuple(documents), dry_run=True, force=request.force)
        return await self._controller.deploy(tried, by)

    async def deploy(self, apis: Sequence[ApiDocument], by: str, *, force: bool) -> None:
        """A deploy starts what was stopped, as on one machine."""
        written = [await self._write(each, by, force=force) for each in apis]
        for each in written:
            await self._sync.taken(each)

    async def merge(self, name: str, patch: Json) -> None:
        """What a verb asks for."""
        await self._sync.taken(await self._merge(name, patch))

    async def delete(self, name: str) -> None:
        with _refusals(name):
            await self._server.delete(REALTIME_APIS, name)

    async def gone(self, name: str) -> None:
        """Returns when an API that is being deleted has no resource any more."""
        await self._sync.gone(name)

    # --- writing -----------------------------------------------------------------------------------------
    async def _write(self, document: ApiDocument, by: str, *, force: bool) -> Json:
        name = str(document.document["name"])
        if document.variables:
            await self._save_variables(name, document, None)
        applied = await self._apply(self._resource(document, by), force=force)
        if applied["spec"].get("stopped"):
            applied = await self._merge(name, to_patch(by, stopped=None))
        if document.variables:  # it goes with the API
            await self._save_variables(name, document, applied)
        return applied

    async def _save_variables(self, name: str, document: ApiDocument, owner: Json | None) -> None:
        whole = (
            None if owner is None else {**owner, "apiVersion": REALTIME_APIS.api_version, "kind": REALTIME_APIS.kind}
        )
        secret = make_variables_secret(name, document.variables, self._variables.key(), whole)
        with _refusals(name):
            await self._server.apply(secret, force=True)

    def _resource(self, document: ApiDocument, by: str) -> Json:
        """With the name of the Secret that has the values of its variables."""
        if document.variables:
            name = str(document.document["name"])
            secret = make_variables_secret(name, document.variables, self._variables.key())["metadata"]["name"]
            source = document.source.model_copy(update={"variables_secret": secret})
            document = document.model_copy(update={"source": source})
        return to_resource(document, by)

    async def _apply(self, resource: Json, *, force: bool, dry_run: bool = False) -> Json:
        with _refusals(resource["metadata"]["name"]):
            return await self._server.apply(resource, force=force, manager=MANAGER, dry_run=dry_run)

    async def _merge(self, name: str, patch: Json) -> Json:
        with _refusals(name):
            return await self._server.merge(REALTIME_APIS, name, patch, manager=MANAGER)


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """What the API server says to an edit, as errors of ours."""
    try:
        yield
    except Refused as refused:
        said = str(refused).rpartition(" (")[0]
        if refused.code == 409:
            raise Conflict(
                f"{name}: somebody else has set what this would change: {said}",
                hint="leave it out, or take it over with --force",
            ) from refused
        if refused.code in (400, 422):
            raise InvalidSpec(f"{name}: the cluster refuses it: {said}") from refused
        if refused.code == 404:
            raise NotFound(f"there is no API named {name}", hint="`hatchway get` lists what is deployed") from refused
        raise EngineUnavailable(f"{name}: the API server refuses it: {said}") from refused
    except Unreachable as exc:
        raise EngineUnavailable(f"{name}: the API server does not answer: {exc}") from exc
