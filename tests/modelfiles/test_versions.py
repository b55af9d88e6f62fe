from __future__ import annotations

from hatchway.modelfiles.versions import installed, missing, skews


def test_names_are_compared_as_pip_does() -> None:
    there = installed(["scikit-learn==1.6.1", "typing_extensions==4.12"])
    assert missing({"Scikit_Learn": "1.6.1", "typing.extensions": ""}, there) == []


def test_what_is_missing_is_named_as_pip_takes_it() -> None:
    assert missing({"xgboost": "2.1.0", "numpy": "", "onnxruntime": ""}, {"numpy": "2.0"}) == [
        "xgboost==2.1.0",
        "onnxruntime",
    ]


def test_the_same_modules_under_another_name_are_not_missing() -> None:
    there = {"onnxruntime-gpu": "1.20.1", "mlflow-skinny": "3.1.0"}
    assert missing({"onnxruntime": "", "mlflow": "3.0.1"}, there) == []
    assert list(map(str, skews({"onnxruntime": "", "mlflow": "3.0.1"}, there))) == [
        "made with mlflow 3.0.1, served with 3.1.0"
    ]


def test_another_release_is_a_skew_and_a_bug_fix_is_none() -> None:
    needs = {"scikit-learn": "1.5.2", "numpy": "2.1.0", "scipy": "", "pandas": "2.2.3"}
    there = {"scikit-learn": "1.7.0", "numpy": "2.1.3+local", "scipy": "1.14"}
    assert list(map(str, skews(needs, there))) == ["made with scikit-learn 1.5.2, served with 1.7.0"]
