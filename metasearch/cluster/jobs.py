"""Ray's Jobs API, as far as a search needs it: a folder goes up, a command runs on the head.

Spoken to over HTTP, so that whoever submits needs neither Ray nor its version. The token is sent
in a header, and only to this machine or over https.
"""

from __future__ import annotations

import hashlib
import io
import json
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any

from metasearch.errors import ConfigError, EnvironmentFault

LARGEST = 100 * 2**20  # bytes of a folder that goes up
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LEFT_OUT = {"__pycache__", "runs", "node_modules"}
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class JobServer:
    """Where jobs are taken: the dashboard of a cluster, mostly at the end of a tunnel."""

    address: str
    token: str = ""

    def __post_init__(self) -> None:
        """Refuse to send a token where others may read it.

        Raises:
            ConfigError: the address is none, or is neither https nor on this machine.
        """
        url = urllib.parse.urlsplit(self.address)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigError(
                f"--address {self.address!r}: wanted is that of the job server, such as "
                "http://127.0.0.1:8265."
            )
        if url.scheme == "http" and url.hostname not in _LOOPBACK:
            raise ConfigError(
                f"--address {self.address}: the token would go over the network as it is. Dig a "
                f"tunnel, ssh -N -L 8265:127.0.0.1:8265 {url.hostname}, and give "
                "http://127.0.0.1:8265."
            )

    def submit(self, name: str, command: Sequence[str], folder: Path) -> str:
        """Run a command in a copy of a folder; returns the id of the job.

        Raises:
            ConfigError: the folder is too large.
            EnvironmentFault: nobody answers, the token is refused, or the job is.
        """
        data = packed(folder)
        package = f"_ray_pkg_{hashlib.sha256(data).hexdigest()[:16]}.zip"
        if not self._has(package):
            self._ask("PUT", f"/api/packages/gcs/{package}", data)
        asked = {
            "entrypoint": join(command),
            "submission_id": name,
            "runtime_env": {"working_dir": f"gcs://{package}"},
            "metadata": {"name": name},
        }
        told = self._ask("POST", "/api/jobs/", json.dumps(asked).encode())
        return str(told.get("submission_id") or told.get("job_id") or name)

    def _has(self, package: str) -> bool:
        try:
            self._ask("GET", f"/api/packages/gcs/{package}")
        except EnvironmentFault as fault:
            if "404" in str(fault):
                return False
            raise
        return True

    def _ask(self, method: str, path: str, data: bytes | None = None) -> Mapping[str, Any]:
        headers = {"Content-Type": "application/json" if method == "POST" else "application/zip"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        url = self.address.rstrip("/") + path
        request = urllib.request.Request(url, data, headers, method=method)
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_PATIENCE_S) as answer:
                body = answer.read(LARGEST)
        except urllib.error.HTTPError as fault:
            raise EnvironmentFault(_refused(self.address, fault)) from fault
        except (OSError, ValueError) as fault:
            raise EnvironmentFault(
                f"no job server answers at {self.address} ({fault}). Is the tunnel up, and does "
                "the head run `ray[default]` with its dashboard?"
            ) from fault
        return dict(json.loads(body)) if body[:1] == b"{" else {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another address than the one that was given gets no token."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _refused(address: str, fault: urllib.error.HTTPError) -> str:
    said = " ".join(fault.read(500).decode("utf-8", "replace").split())[-200:]
    if fault.code in {401, 403}:
        return (
            f"{address} refuses the token ({fault.code}). Bring the cluster's here, to "
            "~/.metasearch/token, mode 600."
        )
    return f"{address} refuses the job ({fault.code}: {said})."


def packed(folder: Path) -> bytes:
    """A folder as a zip, the same for the same files; hidden ones and runs are left out.

    Raises:
        ConfigError: it is too large, or links out of itself.
    """
    made, total = io.BytesIO(), 0
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            inside = file.relative_to(folder)
            if any(part.startswith(".") or part in _LEFT_OUT for part in inside.parts):
                continue
            if file.is_symlink() or not file.is_file():
                continue
            total += file.stat().st_size
            if total > LARGEST:
                raise ConfigError(
                    f"{folder}: more than {LARGEST // 2**20} MB to send along. Give "
                    "--working-dir a folder with the search file and your code alone; data belong "
                    "on a disk that the cluster has."
                )
            info = zipfile.ZipInfo(inside.as_posix(), (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return made.getvalue()
