"""The public surface: what `hatchway` offers, and that every error can be told apart by scripts."""

from __future__ import annotations

import inspect

import hatchway
from hatchway import errors


def test_every_public_name_is_reachable_and_none_is_missing() -> None:
    for name in hatchway.__all__:
        assert getattr(hatchway, name) is not None
    assert len(set(hatchway.__all__)) == len(hatchway.__all__)


def test_every_error_is_public() -> None:
    assert {cls.__name__ for cls in errors.all_errors()} <= set(hatchway.__all__)


def test_every_error_has_a_kind_of_its_own_a_status_and_an_exit_code() -> None:
    kinds = [cls.kind for cls in errors.all_errors()]
    assert len(set(kinds)) == len(kinds)
    for cls in errors.all_errors():
        assert 400 <= cls.http_status < 600
        assert cls.exit_code in (1, 2, 3, 4)
        assert cls.__name__ in str(errors.__doc__)


def test_an_error_survives_the_wire() -> None:
    for cls in errors.all_errors():
        sent = cls("what happened", hint="what to do")
        back = errors.from_dict(sent.to_dict())
        assert type(back) is cls
        assert (back.message, back.hint) == (sent.message, sent.hint)


def test_both_clients_have_the_same_methods() -> None:
    def public(cls: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(cls, callable) if not name.startswith("_")}

    assert public(hatchway.Client) == public(hatchway.AsyncClient)
