"""Tokens, links that work once, and sessions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hatchway.control_api.access import CODE_LIFE_S, MAX_CODES, SESSION_LIFE_S, Access, read_or_make_token
from hatchway.errors import StorageError

NOW = 1_800_000_000.0
TOKEN = "t" * 43


def test_a_code_works_once_and_its_session_lasts() -> None:
    access = Access(TOKEN)
    code = access.new_code(NOW)
    session = access.redeem(code, NOW + 1)
    assert session is not None
    assert access.redeem(code, NOW + 1) is None
    assert access.is_session(session, NOW + SESSION_LIFE_S - 1)
    assert not access.is_session(session, NOW + SESSION_LIFE_S + 2)


def test_an_old_code_and_an_unknown_one_open_nothing() -> None:
    access = Access(TOKEN)
    assert access.redeem(access.new_code(NOW), NOW + CODE_LIFE_S) is None
    assert access.redeem("", NOW) is None


def test_links_that_nobody_follows_are_forgotten_at_last() -> None:
    access = Access(TOKEN)
    codes = [access.new_code(NOW) for _ in range(MAX_CODES + 1)]
    assert access.redeem(codes[0], NOW) is None
    assert access.redeem(codes[1], NOW) is not None


def test_a_session_outlives_the_engine_and_ends_with_the_token() -> None:
    access = Access(TOKEN)
    session = access.redeem(access.new_code(NOW), NOW)
    assert session is not None
    assert Access(TOKEN).is_session(session, NOW)
    assert not Access("u" * 43).is_session(session, NOW)


@pytest.mark.parametrize("forged", ["", ".", "9999999999", "9999999999.", "9999999999.00", "٣.00", "x.y", "9" * 400])
def test_what_was_not_signed_is_no_session(forged: str) -> None:
    assert not Access(TOKEN).is_session(forged, NOW)


def test_the_end_of_a_session_cannot_be_moved() -> None:
    access = Access(TOKEN)
    until, _, signature = str(access.redeem(access.new_code(NOW), NOW)).partition(".")
    assert not access.is_session(f"{int(until) + 1}.{signature}", NOW)


def test_a_token_is_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "dashboard" / "token"
    token = read_or_make_token(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make_token(path) == token
    assert Access(token).is_token(token)
    assert not Access(token).is_token(token[:-1])


def test_a_token_that_keeps_no_secret_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dashboard" / "token"
    read = read_or_make_token(path)
    path.chmod(0o640)
    assert read_or_make_token(path) != read
    path.write_text("short\n")
    path.chmod(0o600)
    assert len(read_or_make_token(path)) >= 43
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("of somebody else, and long enough to be a token\n")
    path.unlink()
    path.symlink_to(elsewhere)
    assert "somebody" not in read_or_make_token(path)
    assert elsewhere.read_text().startswith("of somebody")


def test_a_token_that_cannot_be_kept_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "dashboard").write_text("a file where the folder would be")
    with pytest.raises(StorageError, match="token"):
        read_or_make_token(tmp_path / "dashboard" / "token")
    assert os.listdir(tmp_path) == ["dashboard"]
