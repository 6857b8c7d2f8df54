"""Searches as jobs, sent to a server that takes notes."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metasearch.cli.app import run
from metasearch.cluster import jobs
from metasearch.cluster.jobs import JobServer, packed
from metasearch.errors import ConfigError, EnvironmentFault
from tests.small import blobs_file, trial


class Notes(BaseHTTPRequestHandler):
    """Keeps what it is sent; takes one token."""

    asked: list[tuple[str, str, bytes]]
    packages: dict[str, bytes]
    token = "t" * 64
    moves_to = ""

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.command, self.path, body))
        if self.moves_to:
            self.send_response(302)
            self.send_header("Location", self.moves_to)
            self.end_headers()
        elif self.headers.get("Authorization") != f"Bearer {self.token}":
            self.send_error(401)
        elif self.command == "GET" and self.path not in self.packages:
            self.send_error(404)
        else:
            if self.command == "PUT":
                self.packages[self.path] = body
            told = b'{"submission_id": "known"}' if self.command == "POST" else b""
            self.send_response(200)
            self.end_headers()
            self.wfile.write(told)

    do_GET = do_PUT = do_POST = _take

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Notes]]]:
    handler = type("Handler", (Notes,), {"asked": [], "packages": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", handler
        httpd.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path):
    """A folder with a search, code, and what stays at home."""
    place = tmp_path / "work"
    (place / "code").mkdir(parents=True)
    (place / "search.yaml").write_text("search: {}")
    (place / "code" / "mine.py").write_text("x = 1")
    (place / ".git").mkdir()
    (place / ".git" / "config").write_text("secret")
    (place / "runs").mkdir()
    (place / "runs" / "big").write_text("results")
    (place / "away.txt").symlink_to("/etc/passwd")
    return place


def test_a_folder_goes_up_once_and_the_command_runs_in_it(server, folder):
    address, notes = server
    there = JobServer(address, notes.token)
    for _ in range(2):
        assert there.submit("me", ["metasearch", "search", "a b.yaml"], folder) == "known"
    assert [method for method, *_ in notes.asked] == ["GET", "PUT", "POST", "GET", "POST"]
    (data,) = notes.packages.values()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["code/mine.py", "search.yaml"]
    asked = json.loads(notes.asked[2][2])
    assert asked["entrypoint"] == "metasearch search 'a b.yaml'"
    assert asked["runtime_env"]["working_dir"].startswith("gcs://_ray_pkg_")
    assert notes.token not in json.dumps(asked), "it is sent in the header alone"


def test_the_same_folder_makes_the_same_package(folder):
    assert packed(folder) == packed(folder)


def test_a_folder_that_is_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr(jobs, "LARGEST", 10)
    with pytest.raises(ConfigError, match="--working-dir"):
        packed(folder)


def test_a_wrong_token_is_told_without_showing_it(server, folder):
    with pytest.raises(EnvironmentFault, match=r"refuses the token \(401\)") as told:
        JobServer(server[0], "wrong-token").submit("me", ["x"], folder)
    assert "wrong-token" not in str(told.value)


def test_a_token_follows_no_redirection(server, folder):
    address, notes = server
    notes.moves_to = "http://127.0.0.1:9/elsewhere"
    with pytest.raises(EnvironmentFault, match="302"):
        JobServer(address, notes.token).submit("me", ["x"], folder)


@pytest.mark.parametrize("address", ["http://head:8265", "http://10.0.0.1:8265"])
def test_a_token_is_not_sent_over_a_network_as_it_is(address):
    with pytest.raises(ConfigError, match=r"ssh -N -L 8265:127\.0\.0\.1:8265"):
        JobServer(address, "token")


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "", "ftp://x"])
def test_what_is_no_job_server_is_refused(address):
    with pytest.raises(ConfigError, match="wanted is that of the job server"):
        JobServer(address)


def test_nobody_at_home_is_told_in_a_line(folder):
    with pytest.raises(EnvironmentFault, match="no job server answers") as told:
        JobServer("http://127.0.0.1:9").submit("me", ["x"], folder)
    assert "\n" not in str(told.value)


def test_the_verb_sends_a_search_and_says_how_to_watch_it(server, tmp_path, monkeypatch, capsys):
    from metasearch import space

    address, notes = server
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(notes.token)
    monkeypatch.setenv("METASEARCH_TOKEN", str(token))
    file = tmp_path / "leaves.yaml"
    file.write_text(space.dump({"trial": trial(blobs_file(tmp_path / "blobs.npz"))}))
    words = ["submit", str(file), "--out", "/shared/runs", "--address", address]
    assert run([*words, "--max-concurrent", "8", "--gpus-per-trial", "auto"]) == 0
    asked = json.loads(notes.asked[-1][2])
    assert asked["entrypoint"] == (
        "metasearch search search.yaml --name leaves --out /shared/runs --max-concurrent 8 "
        "--gpus-per-trial auto"
    )
    said = capsys.readouterr()
    assert said.out == "known\n" and "ray job logs known" in said.err
    assert notes.token not in said.out + said.err
    assert run([*words, "--working-dir", str(tmp_path / "elsewhere")]) == 2
