"""Nobody else reads the token, and who has one joins with it."""

from __future__ import annotations

import stat

import pytest

from metasearch.cluster.token import joining, make_token, token_file
from metasearch.errors import EnvironmentFault


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("METASEARCH_TOKEN", str(tmp_path / "private" / "token"))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_a_token_is_made_once_for_its_owner_alone():
    file, new = make_token()
    assert new
    first = file.read_text("ascii")
    assert len(first) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert make_token() == (file, False)
    assert file.read_text("ascii") == first


def test_two_tokens_differ(tmp_path, monkeypatch):
    file, _ = make_token()
    monkeypatch.setenv("METASEARCH_TOKEN", str(tmp_path / "other"))
    other, _ = make_token()
    assert file.read_text("ascii") != other.read_text("ascii")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644])
def test_a_token_that_others_may_read_is_refused(mode):
    file, _ = make_token()
    file.chmod(mode)
    with pytest.raises(EnvironmentFault, match="others may read it"):
        make_token()
    with pytest.raises(EnvironmentFault, match="chmod 600"):
        joining()


def test_an_empty_token_is_refused():
    file = token_file()
    file.parent.mkdir()
    file.touch(0o600)
    with pytest.raises(EnvironmentFault, match="empty"):
        joining()


def test_a_process_joins_with_the_file_and_never_with_the_token_itself():
    file, _ = make_token()
    assert joining() == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}


@pytest.mark.parametrize("name", ["RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_what_ray_was_told_already_is_left_alone(monkeypatch, name):
    make_token()
    monkeypatch.setenv(name, "disabled")
    assert joining() == {}


def test_without_a_token_nothing_is_said():
    assert joining() == {}
