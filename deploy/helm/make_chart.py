"""Writes the Helm chart: the objects of `hatchway cluster install`, with values in the place of what differs.

The objects are made by the functions that install them, from an installation whose every value is a mark. Then each
mark becomes an expression of a template. What depends on a bucket is made twice, and the template chooses.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import re
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hatchway import __version__
from hatchway.backends.kubernetes.manifests import ReplicaPods
from hatchway.kubernetes.certificates import (
    AUTHORITY_DAYS,
    CERTIFICATE_DAYS,
    RENEWED_DAYS,
    Certified,
    service_names,
)
from hatchway.kubernetes.names import TOKEN_SECRET, TOKEN_SECRET_KEY
from hatchway.kubernetes.resources import Json
from hatchway.operator.installation import PODS_VARIABLE, Installation, Keys
from hatchway.operator.objects import make_objects
from hatchway.operator.secrets import (
    AUTHORITY_SECRET,
    CERTIFICATE,
    FILES_TOKEN,
    GATEWAY_TLS,
    OPERATOR_SECRET,
    OPERATOR_TLS,
    told_of,
)
from hatchway.operator.tokens import HASHES_SECRET, SESSION_KEY, hash_of

CHART = Path(__file__).resolve().parent / "hatchway"
MADE = "Made by scripts/chart from the code: edit the code."
RENEW_AFTER = "hatchway.dev/renew-after"  # seconds since the epoch, on a Secret with a certificate

# --- marks, and what they become -----------------------------------------------------------------------------
NAMESPACE = "helm-namespace"
TEXTS = {  # a mark that is a whole scalar -> an expression
    "helm-operator-image": '{{ required "image: where the cluster pulls Hatchway from" .Values.image | quote }}',
    "helm-gateway-image": "{{ .Values.gateway.image | default .Values.image | quote }}",
    "helm-pull-policy": "{{ .Values.imagePullPolicy }}",
    "helm-python": "{{ .Values.python }}",
    "helm-packages": "{{ .Values.packageDir }}",
    "helm-service-type": "{{ .Values.gateway.serviceType }}",
    "helm-storage": "{{ .Values.storage.size | quote }}",
    "helm-pods": '{{ include "hatchway.pods" . | quote }}',
    "s3://helm-bucket": "{{ .Values.bucket.url | quote }}",
}
OPTIONAL = {"helm-storage-class": "storage.className"}  # a mark whose whole line goes when the value is empty
BLOCKS = {"operator.resources": "operator", "gateway.resources": "gateway"}  # values that are taken as they are
SECRETS = {  # what keys are made of -> variables of the template
    "helm-files-token": "$filesToken",
    "helm-control-token": "$controlToken",
    "helm-session-key": "$sessionKey",
    "helm-authority-crt": "$authority.Cert",
    "helm-authority-key": "$authority.Key",
    "helm-operator-crt": "$operator.Cert",
    "helm-operator-key": "$operator.Key",
    "helm-gateway-crt": "$gateway.Cert",
    "helm-gateway-key": "$gateway.Key",
}
CONDITIONS = {  # a kind of object -> the value it takes
    "Secret": ".Values.secrets.create",
    "CustomResourceDefinition": ".Values.crds.create",
    "PodMonitor": ".Values.podMonitor.create",
}


def marked(*, bucket: bool) -> Installation:
    def certified(name: str) -> Certified:
        return Certified(f"helm-{name}-crt", f"helm-{name}-key")

    return Installation(
        namespace=NAMESPACE,
        operator_image="helm-operator-image",
        gateway_image="helm-gateway-image",
        pods=ReplicaPods(
            image="helm-replica-image",
            python="helm-python",
            package_dir="helm-packages",
            pull_policy="helm-pull-policy",
            pull_secrets=("helm-pull-secret",),
        ),
        keys=Keys(
            files_token="helm-files-token",
            control_token="helm-control-token",
            session_key="helm-session-key",
            authority=certified("authority"),
            operator=certified("operator"),
            gateway=certified("gateway"),
        ),
        service_type="helm-service-type",
        pod_monitor=True,
        storage="helm-storage",
        storage_class="helm-storage-class",
        bucket="s3://helm-bucket" if bucket else "",
        bucket_secret="helm-bucket-secret" if bucket else "",
        operator_resources={"helm-block": "operator.resources"},
        gateway_resources={"helm-block": "gateway.resources"},
    )


# --- templates -----------------------------------------------------------------------------------------------
def objects_template() -> str:
    on_volume, in_bucket = (
        {(each["kind"], each["metadata"]["name"]): document(each) for each in make_objects(marked(bucket=bucket))}
        for bucket in (False, True)
    )
    parts = [f"{{{{- /* {MADE} */ -}}}}\n", keys_template()]
    for key in dict.fromkeys((*on_volume, *in_bucket)):
        parts += conditional(key[0], on_volume.get(key, ""), in_bucket.get(key, ""))
    return "".join(parts)


def conditional(kind: str, on_volume: str, in_bucket: str) -> Iterator[str]:
    if on_volume == in_bucket:
        text = on_volume
    elif not in_bucket:
        text = f"{{{{- if not .Values.bucket.url }}}}\n{on_volume}{{{{- end }}}}\n"
    else:
        text = f"{{{{- if .Values.bucket.url }}}}\n{in_bucket}{{{{- else }}}}\n{on_volume}{{{{- end }}}}\n"
    only_if = CONDITIONS.get(kind)
    yield f"{{{{- if {only_if} }}}}\n{text}{{{{- end }}}}\n" if only_if else text


def document(obj: Json) -> str:
    """One object as a document of a template."""
    if obj["kind"] == "CustomResourceDefinition":  # with it all APIs would go
        obj = {**obj, "metadata": {**obj["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
    if obj["metadata"]["name"] in (OPERATOR_TLS, GATEWAY_TLS):
        obj = {**obj, "metadata": {**obj["metadata"], "annotations": {RENEW_AFTER: f"helm-{RENEW_AFTER}"}}}
    text = yaml.safe_dump(_with_pods(obj), sort_keys=False, width=10_000).replace("{{", '{{ "{{" }}')
    text = text.replace(f"helm-{RENEW_AFTER}", f"{{{{ ${_tls_name(obj)}.RenewAfter | quote }}}}")
    text = re.sub(r"^( *)imagePullSecrets:\n\1- name: helm-pull-secret\n", _pull_secrets, text, flags=re.M)
    text = re.sub(r"^( *)envFrom:\n\1- secretRef:\n\1    name: helm-bucket-secret\n", _bucket_secret, text, flags=re.M)
    text = re.sub(r"^( *)resources:\n\1  helm-block: (\S+)\n", _block, text, flags=re.M)
    for mark, value in OPTIONAL.items():
        line = rf"\1{{{{- with .Values.{value} }}}}\n\1\2: {{{{ . | quote }}}}\n\1{{{{- end }}}}\n"
        text = re.sub(rf"^( *)(\w+): {mark}\n", line, text, flags=re.M)
    for mark, variable in SECRETS.items():
        text = text.replace(b64encode(mark.encode()).decode(), f"{{{{ {variable} | b64enc | quote }}}}")
    hashed = b64encode(hash_of("helm-control-token").encode()).decode()
    text = text.replace(hashed, "{{ $controlToken | sha256sum | b64enc | quote }}")
    for issued in ("operator", "gateway"):
        shown = told_of(Certified(f"helm-{issued}-crt", ""))[CERTIFICATE]
        text = re.sub(rf"'?{shown}'?", f"{{{{ ${issued}.Cert | sha256sum | trunc 16 | quote }}}}", text)
    for mark, expression in TEXTS.items():
        text = text.replace(mark, expression)
    text = text.replace(NAMESPACE, "{{ .Release.Namespace }}")
    if found := re.search(r"helm-[a-z-]+", text.replace("helm.sh", "")):
        raise SystemExit(f"scripts/chart: the mark {found[0]} has become nothing in {obj['kind']}")
    return f"---\n{text}"


def _tls_name(obj: Json) -> str:
    return "gateway" if obj["metadata"]["name"] == GATEWAY_TLS else "operator"


def _with_pods(obj: Any) -> Any:
    """The variable that tells the operator of replicas, as a mark."""
    if isinstance(obj, dict):
        if obj.get("name") == PODS_VARIABLE:
            return {"name": PODS_VARIABLE, "value": "helm-pods"}
        return {name: _with_pods(value) for name, value in obj.items()}
    return [_with_pods(each) for each in obj] if isinstance(obj, list) else obj


def _pull_secrets(found: re.Match[str]) -> str:
    indent = found[1]
    return (
        f"{indent}{{{{- with .Values.imagePullSecrets }}}}\n{indent}imagePullSecrets:\n"
        f"{indent}{{{{- range . }}}}\n{indent}- name: {{{{ . | quote }}}}\n"
        f"{indent}{{{{- end }}}}\n{indent}{{{{- end }}}}\n"
    )


def _bucket_secret(found: re.Match[str]) -> str:
    indent = found[1]
    return (
        f"{indent}{{{{- with .Values.bucket.secret }}}}\n{indent}envFrom:\n"
        f"{indent}- secretRef:\n{indent}    name: {{{{ . | quote }}}}\n{indent}{{{{- end }}}}\n"
    )


def _block(found: re.Match[str]) -> str:
    indent, value = found[1], found[2]
    return f"{indent}resources: {{{{- toYaml .Values.{value} | nindent {len(indent) + 2} }}}}\n"


def keys_template() -> str:
    """What is there is kept, by `lookup`; a certificate that ends soon is issued anew by the same authority."""
    lines = [
        "{{- $namespace := .Release.Namespace }}",
        f'{{{{- $secret := lookup "v1" "Secret" $namespace "{OPERATOR_SECRET}" }}}}',
        f'{{{{- $filesToken := dig "data" "{FILES_TOKEN}" "" $secret | b64dec | default (randAlphaNum 32) }}}}',
        f'{{{{- $secret = lookup "v1" "Secret" $namespace "{TOKEN_SECRET}" }}}}',
        f'{{{{- $controlToken := dig "data" "{TOKEN_SECRET_KEY}" "" $secret | b64dec | default (randAlphaNum 43) }}}}',
        f'{{{{- $secret = lookup "v1" "Secret" $namespace "{HASHES_SECRET}" }}}}',
        f'{{{{- $sessionKey := dig "data" "{SESSION_KEY}" "" $secret | b64dec | default (randAlphaNum 43) }}}}',
        f'{{{{- $secret = lookup "v1" "Secret" $namespace "{AUTHORITY_SECRET}" }}}}',
        '{{- $authority := dict "Cert" "" "Key" "" }}',
        '{{- if dig "data" "ca.key" "" $secret }}',
        '{{- $authority = buildCustomCert (index $secret.data "ca.crt") (index $secret.data "ca.key") }}',
        "{{- else if .Values.secrets.create }}",
        f'{{{{- $authority = genCA "hatchway authority" {AUTHORITY_DAYS} }}}}',
        "{{- end }}",
        f"{{{{- $renewAfter := now | unixEpoch | int64 | add {(CERTIFICATE_DAYS - RENEWED_DAYS) * 86400} }}}}",
    ]
    for name, tls in (("operator", OPERATOR_TLS), ("gateway", GATEWAY_TLS)):
        names = [each.replace(NAMESPACE, "%s") for each in service_names(f"hatchway-{name}", NAMESPACE)]
        listed = " ".join(f'(printf "{each}" $namespace)' if "%s" in each else f'"{each}"' for each in names)
        lines += [
            f'{{{{- $secret = lookup "v1" "Secret" $namespace "{tls}" }}}}',
            f'{{{{- $renewed := dig "metadata" "annotations" "{RENEW_AFTER}" "0" $secret }}}}',
            f'{{{{- ${name} := dict "Cert" (dig "data" "tls.crt" "" $secret | b64dec) '
            '"Key" (dig "data" "tls.key" "" $secret | b64dec) "RenewAfter" $renewed }}',
            "{{- if and .Values.secrets.create (le ($renewed | int64) (now | unixEpoch | int64)) }}",
            f'{{{{- $issued := genSignedCert "{names[-1]}" nil (list {listed}) {CERTIFICATE_DAYS} $authority }}}}',
            f'{{{{- ${name} = dict "Cert" $issued.Cert "Key" $issued.Key "RenewAfter" ($renewAfter | toString) }}}}',
            "{{- end }}",
        ]
    return "".join(f"{line}\n" for line in lines)


# --- values --------------------------------------------------------------------------------------------------
def pod_fields() -> Mapping[str, Any]:
    """What is said of replicas, by the name of its value, with the default."""
    defaults = {
        each.name: None
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        else each.default
        if each.default is not dataclasses.MISSING
        else each.default_factory()
        for each in dataclasses.fields(ReplicaPods)
    }
    apart = ("image", "python", "package_dir", "pull_policy", "pull_secrets")  # these have values of their own
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in defaults.items()
        if name not in apart
    }


def helpers_template() -> str:
    fields = " ".join(f'"{name}" .Values.replicas.{camel(name)}' for name in pod_fields())
    return (
        f"{{{{- /* {MADE} */ -}}}}\n"
        '{{- define "hatchway.pods" -}}\n'
        '{{- dict "image" (.Values.replicas.image | default .Values.image) "pull_policy" .Values.imagePullPolicy '
        '"pull_secrets" .Values.imagePullSecrets "python" .Values.python "package_dir" .Values.packageDir '
        f"{fields} | toJson -}}}}\n"
        "{{- end -}}\n"
    )


def camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(map(str.title, more))


def values() -> dict[str, Any]:
    installation = Installation("", "", "", ReplicaPods(image=""), marked(bucket=False).keys)
    return {
        "image": "",
        "imagePullPolicy": installation.pods.pull_policy,
        "imagePullSecrets": [],
        "python": installation.pods.python,
        "packageDir": installation.pods.package_dir,
        "operator": {"resources": dict(installation.operator_resources)},
        "gateway": {
            "image": "",
            "serviceType": installation.service_type,
            "resources": dict(installation.gateway_resources),
        },
        "replicas": {"image": "", **{camel(name): value for name, value in pod_fields().items()}},
        "bucket": {"url": "", "secret": ""},
        "storage": {"size": installation.storage, "className": ""},
        "secrets": {"create": True},
        "crds": {"create": True},
        "podMonitor": {"create": installation.pod_monitor},
    }


MEANINGS = {
    "image": "of Hatchway, for operators, and for gateways and replicas that have no other. Required.",
    "imagePullSecrets": "names of Secrets of the namespace that open the registry.",
    "packageDir": "where the packages of that Python are, in all images.",
    "gateway": "serviceType: ClusterIP, NodePort or LoadBalancer.",
    "replicas": "what all replicas share; image \"\": as above.",
    "bucket": "where projects' files are kept: s3://BUCKET/PREFIX. The secret has AWS_ACCESS_KEY_ID and the like.",
    "storage": "the volume for projects' files where there is no bucket. className \"\": the cluster's default.",
    "secrets": "made on the first install and kept on upgrades. Where charts are rendered without a cluster (Argo CD)\n"
    "# they would be made anew each time: make them once, with `hatchway cluster install --dry-run`, and say false.",
    "podMonitor": "has the Prometheus operator ask gateways for metrics.",
    "crds": "kept when the release is uninstalled: with them all APIs would go.",
}  # fmt: skip


def values_page() -> str:
    parts = [f"# {MADE}\n"]
    for name, value in values().items():
        meaning = f"# {name}: {MEANINGS[name]}\n" if name in MEANINGS else ""
        parts.append(f"\n{meaning}{yaml.safe_dump({name: value}, sort_keys=False)}")
    return "".join(parts)


def schema_page() -> str:
    """A misspelt value is an error."""

    def schema(path: str, value: Any) -> dict[str, Any]:
        if path.endswith("esources") or path.endswith("nodeSelector"):
            return {"type": "object"}
        if isinstance(value, dict):
            properties = {name: schema(f"{path}.{name}", each) for name, each in value.items()}
            return {"type": "object", "additionalProperties": False, "properties": properties}
        if path == ".gateway.serviceType":
            return {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}
        for kind, word in ((bool, "boolean"), (int, "integer"), (str, "string"), (list, "array")):
            if isinstance(value, kind):
                return {"type": word}
        return {}

    whole = schema("", values())
    whole["properties"]["global"] = {}  # Helm's own, for charts that contain this one
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **whole}, indent=2) + "\n"


CHART_PAGE = f"""# {MADE}
apiVersion: v2
name: hatchway
description: Model-serving infrastructure. YAML and a handler become a web service.
type: application
version: {__version__}
appVersion: "{__version__}"
kubeVersion: ">=1.32.0-0"
"""

NOTES = """Hatchway {{ .Chart.AppVersion }} is in namespace {{ .Release.Namespace }}.

  hatchway cluster status --namespace {{ .Release.Namespace }}
  hatchway env add prod --namespace {{ .Release.Namespace }}
"""

PAGES = {
    "Chart.yaml": lambda: CHART_PAGE,
    "values.yaml": values_page,
    "values.schema.json": schema_page,
    "templates/_helpers.tpl": helpers_template,
    "templates/objects.yaml": objects_template,
    "templates/NOTES.txt": lambda: NOTES,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the Helm chart.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when it is stale")
    check = parser.parse_args().check
    stale = 0
    for name, page in PAGES.items():
        path, wanted = CHART / name, page()
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found == wanted:
            continue
        if check:
            stale = 1
            before, after = found.splitlines(keepends=True), wanted.splitlines(keepends=True)
            sys.stdout.writelines(difflib.unified_diff(before, after, name, "from the code"))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
            sys.stdout.write(f"wrote deploy/helm/hatchway/{name}\n")
    return stale


if __name__ == "__main__":
    sys.exit(main())
