"""Every example does what its README says: its commands run, its request gets the answer shown, nothing is left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from hatchway import Client
from tests.e2e.verbs import engine_socket
from tests.shell import REPOSITORY, Shell, a_shell, first_block

EXAMPLES = sorted(path.name for path in (REPOSITORY / "examples").iterdir() if (path / "hatchway.yaml").exists())
TEMPLATES = {"01-iris": "iris", "02-recommender": "recommender", "03-text": "text"}
MADE_BY_TRAINING = ("*.joblib", "*.npz", "model.json", "__pycache__")


def test_there_are_eight_examples() -> None:
    assert [name[:2] for name in EXAMPLES] == ["01", "02", "03", "04", "05", "06", "07", "08"]


@pytest.mark.parametrize("example", TEMPLATES)
def test_an_example_that_init_offers_equals_its_template(example: str) -> None:
    assert files_of(REPOSITORY / "examples" / example) == files_of(
        REPOSITORY / "src/hatchway/templates" / TEMPLATES[example]
    )


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_does_what_its_readme_says(example: str, tmp_path: Path) -> None:
    folder = tmp_path / example
    shutil.copytree(REPOSITORY / "examples" / example, folder, ignore=shutil.ignore_patterns(*MADE_BY_TRAINING))
    readme = (folder / "README.md").read_text()
    commands, answer = first_block(readme, "sh"), first_block(readme, "json")
    assert commands is not None
    name = yaml.safe_load((folder / "hatchway.yaml").read_text())[0]["name"]

    with a_shell(folder) as shell:
        outputs = [shell.run(line) for line in commands.commands if not line.startswith("pip install")]
        if answer is not None:
            said = next(output for output in outputs if "request.json" in output.command)
            assert_as_shown(said.json(), yaml.safe_load(answer.text))
        if check := CHECKS.get(example):
            check(shell)

        shell.run(f"hatchway delete {name} --yes")
        assert shell.run("hatchway get -o json").json() == []
        shell.run("hatchway down")
        assert shell.processes() == []
        assert shell.sockets() == []


def recommends_what_was_not_rated(shell: Shell) -> None:
    films = shell.run("""hatchway predict recommendation-engine '{"user_id": 42, "n": 3}'""").json()["recommendations"]
    assert [film["rating"] for film in films] == sorted((film["rating"] for film in films), reverse=True)
    assert len({film["item_id"] for film in films}) == 3
    similar = shell.run("""hatchway predict recommendation-engine '{"item_id": 7, "n": 3}'""").json()["similar"]
    assert all(film["title"].endswith("(space)") for film in similar)


def serves_every_path_of_the_application(shell: Shell) -> None:
    base = "http://localhost:8484/delivery"
    assert "/delivery/openapi.json" in shell.run(f"curl {base}/docs").stdout
    assert set(shell.run(f"curl {base}/openapi.json").json()["paths"]) == {"/estimate", "/model"}
    assert shell.run(f"curl {base}/model").json()["base_minutes"] > 0
    refused = shell.run(
        f"""curl {base}/estimate -H "content-type: application/json" -d '{{"distance_km": -1}}'""", expect=22
    )
    assert "HTTP 422" in refused.stderr


def names_what_to_write_instead(shell: Shell) -> None:
    """The messages that the README walks through are the ones the loader gives."""
    readme = (shell.folder / "README.md").read_text()
    shown = first_block(readme, "text")
    assert shown is not None
    refused = shell.run("hatchway deploy cortex-before.yaml --dry-run", expect=2)
    for line in shown.text.splitlines():
        assert line.strip() in refused.stdout + refused.stderr, f"{line!r} is not in\n{refused}"


def says_which_fields_are_wrong(shell: Shell) -> None:
    url = f"{shell.gateway_url()}/parcels"
    refused = httpx.post(url, json={"parcels": [{"weight_kg": 50, "to": "the moon"}]})
    assert refused.status_code == 422
    details = refused.json()["error"]["details"]
    assert [detail["loc"] for detail in details] == [["parcels", 0, "weight_kg"], ["parcels", 0, "to"]]
    table = httpx.put(
        url,
        content=(shell.folder / "parcels.csv").read_bytes(),
        headers={"content-type": "text/csv", "accept": "text/csv"},
    )
    assert table.text.splitlines() == ["weight_kg,to,fragile,euro", "2.5,abroad,True,13.5", "1.0,home,False,4.9"]
    assert set(httpx.get(f"{url}/openapi.json").json()["paths"]["/"]) == {"post", "put"}


def answers_word_by_word_until_the_caller_leaves(shell: Shell) -> None:
    url = f"{shell.gateway_url()}/chatbot"
    assert "<title>Chatbot</title>" in httpx.get(url).text
    question = {"messages": [{"role": "user", "content": "Shuffle a list"}], "stream": True}
    chat = f"{url}/v1/chat/completions"
    *events, done, rest = httpx.post(chat, json=question, timeout=30).text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    deltas = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content", "") for delta in deltas) == "Shuffle list x in place, and return None."
    assert len(deltas) == 11  # ten words, and the end
    with httpx.stream("POST", chat, json=question, headers={"x-request-id": "leaves"}, timeout=30) as answer:
        next(answer.iter_raw())
    with Client(socket=engine_socket(shell)) as client:
        for line in client.logs("chatbot", follow=True):
            if line.request_id == "leaves":
                assert line.message.startswith("stopped after ")
                break
    refused = shell.run("hatchway predict chatbot '{}'", expect=None)
    assert "messages" in refused.stdout + refused.stderr


CHECKS = {
    "02-recommender": recommends_what_was_not_rated,
    "04-asgi": serves_every_path_of_the_application,
    "06-from-cortex": names_what_to_write_instead,
    "07-typed": says_which_fields_are_wrong,
    "08-chatbot": answers_word_by_word_until_the_caller_leaves,
}


def assert_as_shown(answer: Any, shown: Any) -> None:
    """What a README shows is in the answer; numbers may differ a little between versions of the libraries."""
    if isinstance(shown, dict):
        for key in shown.keys() - {"..."}:
            assert_as_shown(answer[key], shown[key])
    elif isinstance(shown, int | float) and not isinstance(shown, bool):
        assert answer == pytest.approx(shown, abs=0.05)
    else:
        assert answer == shown


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file that belongs to a project, by name."""
    made = [path for pattern in MADE_BY_TRAINING for path in folder.rglob(pattern)]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path not in made and "__pycache__" not in path.parts
    }
