"""A model file in a real replica process, whose own modules are out of the model's sight."""

from __future__ import annotations

import pickle
from pathlib import Path

from sklearn.linear_model import LogisticRegression

from hatchway.contract import EXIT_LOAD_FAILED
from tests.replica.running import Running

X = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]


def test_a_model_file_is_a_handler(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, ["a", "b", "b"])
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(model))
    with Running({"m.pkl": tmp_path / "m.pkl"}, {"model": "m.pkl", "warmup": X[0]}) as replica:
        assert replica.stats().handler == "sklearn LogisticRegression from m.pkl"
        shares = dict(zip(["a", "b"], model.predict_proba(X[:1])[0].tolist(), strict=True))
        assert replica.post(X[0]).json() == {"prediction": "a", "probabilities": shares}
        assert replica.post("x").status == 422
        assert replica.stats().errors == 0


def test_a_file_that_nobody_trusts_ends_the_replica_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    with Running({"m.pkl": tmp_path / "m.pkl"}, {"model": "m.pkl"}, wait_ready=False) as replica:
        assert replica.ended() == EXIT_LOAD_FAILED
        words = replica.last_words()
        assert words.reason == "UntrustedModel"
        assert "os.system" in words.message
        assert "--trust" in words.message
