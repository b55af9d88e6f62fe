"""What Envoy is started with, written into the folder that the containers of a gateway's pod share.

Envoy runs in that folder, so paths in it are short and the same in every pod.
"""

from __future__ import annotations

import json
from pathlib import Path

from hatchway.files import replace_text
from hatchway.gateway.bootstrap import Operators, make_authority, make_certificate, make_pod_bootstrap
from hatchway.kubernetes.tls import OPERATOR_NAME, TlsFiles

ADMIN, BOOTSTRAP = "admin.sock", "bootstrap.json"
ACTIVATOR, HELD, JOURNAL = "act.sock", "act.ctl", "requests.jsonl"
REPLICAS, FOLDERS = "replicas", "none"  # of the activator: replicas are announced by files, none has a folder
_CERTIFICATE, _AUTHORITY = "certificate.json", "authority.json"


def write_files(folder: Path, pod: str, host: str, operators: str, tls: TlsFiles) -> None:
    """`operators` is HOST:PORT of the operators' Service; `host` the pod's address. Raises OSError."""
    for made in (folder / REPLICAS, folder / FOLDERS):
        made.mkdir(exist_ok=True)
    where, _, port = operators.rpartition(":")
    _write(folder / _CERTIFICATE, make_certificate(str(tls.folder)))
    _write(folder / _AUTHORITY, make_authority(str(tls.folder)))
    _write(
        folder / BOOTSTRAP,
        make_pod_bootstrap(
            pod,
            host,
            admin_socket=f"./{ADMIN}",
            operators=Operators(where, int(port), OPERATOR_NAME, f"./{_CERTIFICATE}", f"./{_AUTHORITY}"),
        ),
    )


def _write(path: Path, document: object) -> None:
    replace_text(path, json.dumps(document, indent=1))
