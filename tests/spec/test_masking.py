from __future__ import annotations

from hatchway.spec.load import parse_document
from hatchway.spec.masking import masked
from tests.spec.builders import a_document


def test_defaults_are_filled_in_and_quantities_are_readable() -> None:
    document = a_document(handler={"class": "Iris"}, compute={"mem": 536870912, "cpu": "200m"})
    shown = masked(parse_document(document, {}), document)
    assert shown["handler"]["class"] == "Iris"
    assert shown["handler"]["timeout"] == "1m"
    assert shown["compute"] | {"cpu": 0.2, "mem": "512Mi", "gpu": 0} == shown["compute"]
    assert shown["networking"]["max_body"] == "100Mi"


def test_every_leaf_written_with_a_variable_shows_the_reference() -> None:
    document = a_document(
        handler={
            "env": {"A": "a${S}b", "B": "${S:-x}", "C": "plain"},
            "config": {"deep": [{"x": "${S}"}, 1]},
            "max_concurrency": "${N}",
        },
        networking={"cors": {"allow_origins": ["https://${S}", "https://a"]}},
    )
    shown = masked(parse_document(document, {"S": "hunter2", "N": "3"}), document)
    assert shown["handler"]["env"] == {"A": "a${S}b", "B": "${S:-x}", "C": "plain"}
    assert shown["handler"]["config"] == {"deep": [{"x": "${S}"}, 1]}
    assert shown["handler"]["max_concurrency"] == "${N}"
    assert shown["networking"]["cors"]["allow_origins"] == ["https://${S}", "https://a"]
    assert "hunter2" not in str(shown)


def test_a_literal_dollar_brace_stays_escaped() -> None:
    document = a_document(handler={"config": {"template": "$${name}"}})
    spec = parse_document(document, {})
    assert spec.handler.config == {"template": "${name}"}
    assert masked(spec, document)["handler"]["config"] == {"template": "$${name}"}


def test_of_a_webhook_that_is_written_out_only_the_host_shows() -> None:
    document = a_document(monitoring={"alerts": {"webhook": "https://ada:pw@hooks.slack.com/services/T0/B0/hunter2"}})
    spec = parse_document(document, {})
    assert masked(spec, document)["monitoring"]["alerts"]["webhook"] == "https://hooks.slack.com/…"
    assert "hunter2" not in repr(spec)
    document = a_document(monitoring={"alerts": {"webhook": "${URL}"}})
    spec = parse_document(document, {"URL": "https://hooks.slack.com/services/T0/B0/hunter2"})
    assert masked(spec, document)["monitoring"]["alerts"]["webhook"] == "${URL}"
