"""From a model's file, a script or a notebook to an answer, by the commands and calls that a user would write."""

from __future__ import annotations

import json
import os
import posixpath
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier
from uv import find_uv_bin

from tests.shell import REPOSITORY, Shell, a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.xdist_group("models")]

FLOWER = {"sepal length (cm)": 6.5, "sepal width (cm)": 3.0, "petal length (cm)": 5.5, "petal width (cm)": 2.0}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with a_shell(tmp_path) as shell:
        yield shell
        shell.run("hatchway down")
        assert shell.processes() == []
        assert shell.sockets() == []


@pytest.fixture
def flowers(tmp_path: Path) -> LogisticRegression:
    """The model in iris.joblib."""
    data = load_iris(as_frame=True)
    model = LogisticRegression(max_iter=1000).fit(data.data, data.target_names[data.target])
    joblib.dump(model, tmp_path / "iris.joblib")
    return model


def expected(model: LogisticRegression) -> dict[str, Any]:
    (shares,) = model.predict_proba(load_iris(as_frame=True).data.iloc[:0].reindex([0]).assign(**FLOWER)).tolist()
    return {"prediction": "virginica", "probabilities": dict(zip(model.classes_.tolist(), shares, strict=True))}


def test_a_file_is_an_api_and_again_up_to_date(shell: Shell, flowers: LogisticRegression) -> None:
    done = shell.run("hatchway deploy iris.joblib")
    assert "scikit-learn LogisticRegression" in done.stderr
    answer = shell.run(f"hatchway predict iris '{json.dumps(FLOWER)}'").json()
    assert answer == expected(flowers)
    assert "up to date" in shell.run("hatchway deploy iris.joblib").stdout
    spec = shell.run("hatchway get iris -o json").json()["spec"]
    assert spec["handler"]["model"] == "iris.joblib"
    shell.run("hatchway deploy iris.joblib --name flowers")
    assert shell.run(f"hatchway predict flowers '{json.dumps([FLOWER])}'").json() == [answer]


def test_a_project_from_a_model_deploys_and_answers_the_same(shell: Shell, flowers: LogisticRegression) -> None:
    shell.run("hatchway init --from iris.joblib project")
    shell.run("cd project && hatchway deploy")
    assert shell.run(f"hatchway predict iris '{json.dumps(FLOWER)}'").json() == expected(flowers)
    shell.run("cd project && hatchway predict iris request.json")


def test_what_may_run_code_needs_trust_which_outlives_the_engine(shell: Shell) -> None:
    x, y = load_iris(return_X_y=True)
    step = FunctionTransformer(None, inverse_func=posixpath.basename)
    joblib.dump(make_pipeline(step, DecisionTreeClassifier(random_state=0)).fit(x, y), shell.folder / "unsafe.joblib")
    refused = shell.run("hatchway deploy unsafe.joblib", expect=2)
    assert "posixpath.basename" in refused.stderr
    assert "hatchway deploy unsafe.joblib --trust" in refused.stderr
    assert shell.run("hatchway get -o json").json() == []

    done = on_a_terminal(shell, "y\n", "hatchway", "deploy", "unsafe.joblib")
    assert "Trust this file" in done
    answer = shell.run("hatchway predict unsafe '[6.5, 3.0, 5.5, 2.0]'").json()
    assert answer["prediction"] == 2
    shell.run("hatchway down")
    shell.run("hatchway up")
    assert "up to date" in shell.run("hatchway deploy unsafe.joblib").stdout  # remembered, and a pipe asks nobody
    assert shell.run("hatchway predict unsafe '[6.5, 3.0, 5.5, 2.0]'").json() == answer


def on_a_terminal(shell: Shell, answer: str, *command: str) -> str:
    """What a command shows on a terminal whose user types `answer` when asked."""
    keyboard, screen = pty.openpty()
    environ = {**shell.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(
        command, cwd=shell.folder, env=environ, stdin=screen, stdout=screen, stderr=screen
    ) as process:
        os.close(screen)
        seen, asked = "", True
        while True:
            try:
                seen += os.read(keyboard, 4096).decode(errors="replace")
            except OSError:  # how Linux says that the other side was closed
                break
            if asked and "[y/N]" in seen:
                asked = False
                os.write(keyboard, answer.encode())
        os.close(keyboard)
        assert process.wait() == 0, seen
    return seen


SCRIPT = """
import numpy as np
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

import hatchway
from names import NAMES

x, y = load_iris(return_X_y=True)
model = DecisionTreeClassifier(random_state=0).fit(x, y)

def species(flower):
    return NAMES[int(model.predict([np.asarray(flower)])[0])]

class Counter:
    def __init__(self, config):
        self.count = config["first"]

    def handle_post(self, payload):
        print("counting")
        return self.count + payload

if __name__ == "__main__":
    api = hatchway.deploy(species, example=x[0])
    print(api.predict(), api.predict([6.5, 3.0, 5.5, 2.0]))
    print(hatchway.deploy(species, example=x[0]).revision == api.revision)
    counter = hatchway.deploy(Counter, config={"first": 41}, compute={"mem": "1Gi"})
    print(counter.predict(1), counter.url.endswith("/counter"))
    print([line.message for line in counter.logs() if line.message == "counting"])
    tree = hatchway.deploy(model, "tree")
    print(tree.predict(x[0])["prediction"], tree)
    counter.delete()
"""


def test_a_script_deploys_functions_classes_and_models(shell: Shell) -> None:
    (shell.folder / "script.py").write_text(SCRIPT)
    (shell.folder / "names.py").write_text("NAMES = ['setosa', 'versicolor', 'virginica']\n")
    done = shell.run(f"{sys.executable} script.py")
    assert done.stdout.splitlines() == [
        "setosa virginica",
        "True",
        "42 True",
        "['counting']",
        f"0 <hatchway API tree: live at {shell.gateway_url()}/tree>",
    ]
    assert "species: live" in done.stderr


CELLS = (
    "import numpy as np\nimport hatchway\nOFFSET = np.ones(2)",
    "class Base:\n    unit = 'cm'",
    "class Box(Base):\n    def predict(self, payload):\n"
    "        return f'{sum(np.asarray(payload) + OFFSET)} {self.unit}'",
    "api = hatchway.deploy(Box, 'box', example=[1.0, 2.0])\napi",
    "print(await __import__('asyncio').sleep(0, api.predict()))",
    "hatchway.deploy(lambda payload: 1)",
)

RUN_NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(cell) for cell in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=100, kernel_name="python3", allow_errors=True).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with a Jupyter kernel, and with all that ours has."""
    folder = tmp_path_factory.mktemp("jupyter") / "venv"
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin/python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), "ipykernel", "nbclient"], check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (ours,) = Path(sys.prefix).glob("lib/python*/site-packages")
    (site_packages / "ours.pth").write_text(f"{ours}\n{REPOSITORY / 'src'}\n")
    return python


def test_a_notebook_deploys_what_its_cells_define(shell: Shell, jupyter: Path) -> None:
    done = subprocess.run(
        [str(jupyter), "-c", dedent(RUN_NOTEBOOK)],
        input=json.dumps(CELLS),
        cwd=shell.folder,
        env={**shell.environ, "IPYTHONDIR": str(shell.folder / "ipython")},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, deployed, called, refused = json.loads(done.stdout.splitlines()[-1])
    shown, result = deployed[-2]["data"], deployed[-1]["data"]
    assert "✓ box: live" in shown["text/plain"]
    assert result["text/plain"] == f"<hatchway API box: live at {shell.gateway_url()}/box>"
    assert ".predict([1.0, 2.0])" in result["text/html"]
    assert called[-1]["text"] == "5.0 cm\n"
    assert refused[-1]["ename"] == "UsageError"
    assert "hint: write it as `def predict(payload)" in "\n".join(refused[-1]["traceback"])
    # The kernel has ended; what it deployed has not.
    assert shell.run("hatchway predict box '[0, 0]'").stdout.strip() == "2.0 cm"
