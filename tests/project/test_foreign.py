"""Dependencies of other tools as lines of a requirements file."""

from __future__ import annotations

import pytest

from hatchway.project.foreign import from_conda, from_pipfile, from_poetry

CONDA = """
name: iris
channels: [conda-forge, defaults]
dependencies:
  - python=3.11.7
  - pip
  - numpy=1.26
  - pandas=2.2.1=py311h320fe9a_0
  - conda-forge::scikit-learn>=1.4,<2
  - scipy 1.11.4
  - pytorch=2.2.0=cuda12
  - xgboost
  - joblib==1.3.2
  - cudatoolkit=11.8
  - libgcc-ng
  - pip:
      - fastapi==0.110.0
      - git+https://example.com/x.git
"""


def test_an_environment_of_conda() -> None:
    found = from_conda(CONDA)
    assert found.python == "3.11"
    assert found.lines == (
        "numpy==1.26.*",
        "pandas==2.2.1",
        "scikit-learn>=1.4,<2",
        "scipy==1.11.4",
        "torch==2.2.0",
        "xgboost",
        "joblib==1.3.2",
        "fastapi==0.110.0",
        "git+https://example.com/x.git",
    )
    assert found.left_out == ("pip", "cudatoolkit", "libgcc-ng")


@pytest.mark.parametrize("text", ["", "- a", "dependencies: 3", "a: [", "name: x"])
def test_what_is_no_environment_has_no_lines(text: str) -> None:
    assert from_conda(text).lines == ()


@pytest.mark.parametrize(
    ("wish", "line"),
    [
        ("^1.2.3", "a>=1.2.3,<2"),
        ("^0.2.3", "a>=0.2.3,<0.3"),
        ("^0.0.3", "a>=0.0.3,<0.0.4"),
        ("^0", "a>=0,<1"),
        ("~1.2.3", "a>=1.2.3,<1.3"),
        ("~1", "a>=1,<2"),
        ("1.2.*", "a==1.2.*"),
        ("1.2", "a==1.2"),
        ("*", "a"),
        (">=1.2, <3", "a>=1.2,<3"),
        ("~=1.2", "a~=1.2"),
        ({"version": "^2", "extras": ["x", "y"]}, "a[x,y]>=2,<3"),
        ({"version": "1", "markers": "python_version < '3.12'"}, "a==1 ; python_version < '3.12'"),
        ({"git": "https://example.com/a.git", "rev": "abc"}, "a @ git+https://example.com/a.git@abc"),
        ({"path": "./lib/a"}, "./lib/a"),
        ({"url": "https://example.com/a.whl"}, "a @ https://example.com/a.whl"),
    ],
)
def test_a_wish_of_poetry(wish: object, line: str) -> None:
    found = from_poetry({"dependencies": {"python": "^3.11", "a": wish}})
    assert (found.lines, found.python) == ((line,), "3.11")


def test_a_pipfile() -> None:
    text = '[packages]\nrequests = "*"\nnumpy = "==1.26.4"\nx = {version = ">=1", extras = ["y"]}\n'
    found = from_pipfile(text + '[dev-packages]\npytest = "*"\n[requires]\npython_version = "3.12"\n')
    assert found.lines == ("requests", "numpy==1.26.4", "x[y]>=1")
    assert found.python == "3.12"
