"""What is remembered of an API, as objects of the cluster. Pure.

    ConfigMap iris.hatchway            what is wanted, revisions, history, the autoscaler's memory; no lists of files
    ControllerRevision iris-REVISION   the list of files of one revision, which never changes

Both belong to the RealtimeAPI and go with it. The ConfigMap is compressed JSON: it is written whole, and often.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from hatchway.errors import StorageError
from hatchway.kubernetes.names import API, COMPONENT, REVISION, common_labels, revision_name
from hatchway.kubernetes.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, Json
from hatchway.store.sqlite import Kept

RECORD = "record"  # the component of both kinds
LABELS = f"{COMPONENT}={RECORD}"
MAX_BYTES = 512 * 1024  # compressed; an object of a cluster may have about a megabyte
DECISIONS_KEPT = 50  # of the autoscaler, in the cluster: they are most of what there is, and worth least

_KEY = "record.json.gz"
_FOR_PEOPLE = ("decisions", "events", "deeds")  # dropped in this order, the oldest first, when it is too much


def record_name(api: str) -> str:
    return f"{api}.hatchway"


# --- what is kept ----------------------------------------------------------------------------------------------
def join(state: Kept, files: Mapping[str, Any]) -> Kept:
    """The state with the files of its revisions. Without those whose files somebody took away, which cannot be run any
    more; nothing, if the wanted one is among them: its RealtimeAPI still says all that it takes to deploy it."""
    revisions = [
        {**row, "source": json.dumps({**json.loads(row["source"]), "files": files[row["id"]]}, ensure_ascii=False)}
        for row in state.get("revisions", ())
        if row["id"] in files
    ]
    is_whole = state["apis"][0]["revision"] in {row["id"] for row in revisions}
    return {**state, "revisions": revisions} if is_whole else {}


def essence(state: Kept) -> str:
    """What has to stand in the cluster before anything is done about it: when this differs, it is written at once.

    Of the autoscaler's memory only how many replicas it wants, lest the next leader take away what runs. The rest of
    it, and what was told to people, may be a minute old.
    """
    facts = {row["key"]: row["value"] for row in state.get("memory", ())}
    wanted = {
        key: json.loads(value)["memory"]["replicas"] for key, value in facts.items() if key.startswith("scaling:")
    }
    kept = {key: value for key, value in facts.items() if key not in wanted}
    return json.dumps([state["apis"], state.get("revisions"), state.get("deeds"), kept, wanted], sort_keys=True)


# --- objects ---------------------------------------------------------------------------------------------------
def make_record(api: str, state: Kept, owner: Json | None) -> Json:
    """`state` is what `Store.dump` gives. Raises StorageError when what cannot be left out is too much."""
    state = {**state, "decisions": state.get("decisions", ())[-DECISIONS_KEPT:]}
    content = _pack(state)
    while len(content) > MAX_BYTES:
        state = _with_less(api, state)
        content = _pack(state)
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": _metadata(record_name(api), {API: api}, owner),
        "binaryData": {_KEY: b64encode(content).decode()},
    }


def make_files(api: str, revision: str, files: Any, number: int, owner: Json | None) -> Json:
    """`number`: in which order they were made, for people."""
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": _metadata(revision_name(api, revision), {API: api, REVISION: revision}, owner),
        "data": {"files": files},
        "revision": number,
    }


def read_record(record: Json) -> Kept:
    """Raises StorageError for what no release of ours wrote."""
    try:
        state: Kept = json.loads(gzip.decompress(b64decode(record["binaryData"][_KEY])))
        (_,) = state["apis"]
    except (KeyError, ValueError, OSError, EOFError, TypeError) as exc:
        name = record["metadata"]["name"]
        raise StorageError(
            f"the ConfigMap {name} is damaged: {exc}",
            hint="delete it: its API is then deployed anew from its RealtimeAPI, without its history",
        ) from exc
    return state


def content_of(record: Json) -> tuple[object, str]:
    """To tell whether a write of ours that was answered with a conflict was the one that won."""
    return record.get("binaryData"), owner_of(record)


def owner_of(obj: Json) -> str:
    """The uid of what it goes with; "" for nothing."""
    return next((str(each["uid"]) for each in obj["metadata"].get("ownerReferences", ())), "")


def _metadata(name: str, labels: Mapping[str, str], owner: Json | None) -> Json:
    metadata: Json = {"name": name, "labels": {**common_labels(RECORD), **labels}}
    if owner is not None:
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
        metadata["ownerReferences"] = [
            {**reference, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        ]
    return metadata


def _pack(state: Kept) -> bytes:
    return gzip.compress(json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode(), mtime=0)


def _with_less(api: str, state: Kept) -> Kept:
    for table in _FOR_PEOPLE:
        rows = state.get(table, [])
        if len(rows) > 1:
            return {**state, table: rows[len(rows) // 2 :]}
    raise StorageError(
        f"what is to be kept of {api} does not fit into an object of the cluster",
        hint="make its handler.config smaller",
    )
