"""`hatchway metrics`: where Prometheus finds them, and the files that Prometheus and Grafana want."""

from __future__ import annotations

from importlib import resources
from typing import Annotated
from urllib.parse import urlsplit

import typer

from hatchway.cli.connect import engine
from hatchway.cli.output import Format, FormatOption, Output
from hatchway.errors import UsageError

EXAMPLES = (
    "hatchway metrics",
    "hatchway metrics --prometheus > prometheus.yml",
    "hatchway metrics --alerts > hatchway-alerts.yml",
    "hatchway metrics --grafana > hatchway.json",
)

CONFIGURATION = """\
# For Prometheus on this machine. From another one, add under the job the token that opens the port there:
#   authorization: {{credentials_file: /path/to/a/copy/of/the/token}}
scrape_configs:
  - job_name: hatchway
    scrape_interval: 15s
    static_configs:
      - targets: ["{target}"]
rule_files: [hatchway-alerts.yml]
"""


def metrics(
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print a configuration for Prometheus.")] = False,
    alerts: Annotated[bool, typer.Option("--alerts", help="Print alert rules for Prometheus.")] = False,
    grafana: Annotated[bool, typer.Option("--grafana", help="Print a dashboard for Grafana.")] = False,
    output: FormatOption = Format.table,
) -> None:
    """Tell where Prometheus finds the metrics, or print a file for it or for Grafana.

    The files are complete: import the dashboard, and give the other two to Prometheus.
    """
    out = Output.open(output)
    if prometheus + alerts + grafana > 1:
        raise UsageError("one file at a time: --prometheus, --alerts or --grafana")
    if alerts or grafana:
        out.line(_shipped("alerts.yml" if alerts else "grafana.json"))
        return
    with engine(out) as client:
        found = client.status().metrics
    if found is None:
        raise UsageError("this engine serves no metrics", hint="end it with: hatchway down; then: hatchway up")
    if prometheus:
        out.line(CONFIGURATION.format(target=urlsplit(found.url).netloc).rstrip("\n"))
    elif out.is_table:
        out.line(found.url)
    else:
        out.data(found)


def _shipped(name: str) -> str:
    return resources.files("hatchway.metrics").joinpath("shipped", name).read_text(encoding="utf-8").rstrip("\n")
