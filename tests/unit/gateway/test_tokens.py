"""Tokens: kept as hashes, readable by nobody else, effective and revoked without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from althing.gateway.errors import SettingsError
from althing.gateway.tokens import TokenStore


def test_add_check_revoke(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    store = TokenStore(path)
    token = store.add("sensor-1", "acme")
    assert token.startswith("alt_")
    assert len(token) > 40
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    found = store.check(token)
    assert found is not None
    assert (found.device, found.organisation, found.method) == ("sensor-1", "acme", "token")
    for wrong in ("", "alt_", token[:-1], token + "x", token.upper(), "\udcff"):
        assert store.check(wrong) is None
    (listed,) = store.tokens()
    assert listed.device == "sensor-1"
    assert store.revoke(listed.id) == 1
    assert store.check(token) is None
    assert store.revoke("sensor-1") == 0


def test_another_process_adds_and_revokes(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    gateway, command = TokenStore(path), TokenStore(path)
    token = command.add("sensor-1")
    gateway._looked = -10
    assert gateway.check(token) is not None
    command.revoke("sensor-1")
    gateway._looked = -10
    assert gateway.check(token) is None


def test_a_file_for_all_eyes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    TokenStore(path).add("sensor-1")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="can be read by others"):
        TokenStore(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2, "tokens": []}', '{"version": 1, "tokens": [{}]}'])
def test_a_damaged_file_lets_nobody_new_in(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokens.json"
    store = TokenStore(path)
    token = store.add("sensor-1")
    path.write_text(content)
    store._looked = -10
    assert store.check(token) is not None  # whoever was known stays known
    with pytest.raises(SettingsError):
        TokenStore(path)


def test_names_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        TokenStore(tmp_path / "tokens.json").add("No Name")
