"""Files for Prometheus and Grafana on the standard output, to be redirected."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cli.conftest import CommandLine
from tests.shell import REPOSITORY

SHIPPED = REPOSITORY / "src" / "hatchway" / "metrics" / "shipped"


def test_the_address_is_told(cli: CommandLine) -> None:
    url = "http://127.0.0.1:8485/metrics"
    assert cli.run("metrics").stdout == f"{url}\n"
    assert json.loads(cli.run("metrics", "-o", "json").stdout) == {"url": url}


def test_the_configuration_scrapes_this_home(cli: CommandLine) -> None:
    found = yaml.safe_load(cli.run("metrics", "--prometheus").stdout)
    (job,) = found["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8485"]}]


@pytest.mark.parametrize(("option", "name"), [("--alerts", "alerts.yml"), ("--grafana", "grafana.json")])
def test_files_are_printed_as_they_are(cli: CommandLine, option: str, name: str) -> None:
    assert cli.run("metrics", option).stdout == (SHIPPED / name).read_text()


def test_one_file_at_a_time(cli: CommandLine) -> None:
    assert cli.run("metrics", "--alerts", "--grafana").code == 2
