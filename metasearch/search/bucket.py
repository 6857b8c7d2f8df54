"""Objects of a bucket, over S3: written whole, listed with a tag each, replaced on a condition.

The only file that imports boto3. Credentials, region and endpoint are found as the command line of
AWS finds them: in the environment, in ~/.aws, or from the machine; none is ever written down.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metasearch.errors import EnvironmentFault, RunError

ATTEMPTS = 8  # at a request, with pauses that grow: a minute; $AWS_MAX_ATTEMPTS says otherwise
_CONNECT_S, _READ_S = 5, 30
MOST = 2**30  # bytes of an object, for it is read whole; a checkpoint takes some hundredths of it
_AT_ONCE = 1000  # objects in one request to delete
_OTHER = {"PreconditionFailed", "NoSuchKey", "404", "412"}  # something else is there, or nothing
_BUSY = {"ConditionalRequestConflict", "409"}


class StoreFault(EnvironmentFault, OSError):  # noqa: N818 - as its kin
    """A bucket does not take or give what it should, as a disk may not."""

    def __str__(self) -> str:
        """Its text, also once somebody has added the name of a file, as is done for disks."""
        return str(self.args[0])


@dataclass(frozen=True)
class Entry:
    """One object, as it is listed."""

    tag: str  # another for other bytes
    size: int


@dataclass(frozen=True)
class Bucket:
    """A bucket by its name. Each method raises StoreFault where the store fails it."""

    name: str

    def get(self, key: str) -> tuple[bytes, str] | None:
        """The bytes of an object and its tag; None if there is none.

        Raises:
            RunError: it is longer than any that this package writes.
        """
        from botocore.exceptions import IncompleteReadError, ResponseStreamingError

        with self._told(key):
            for left in range(ATTEMPTS, 0, -1):
                try:
                    found = _client().get_object(Bucket=self.name, Key=key)
                    if found["ContentLength"] > MOST:
                        found["Body"].close()
                        raise RunError(_too_long(f"s3://{self.name}/{key}", found["ContentLength"]))
                    return found["Body"].read(), str(found["ETag"])
                except (IncompleteReadError, ResponseStreamingError):  # too late for boto3's own
                    if left == 1:
                        raise
                except _errors() as fault:
                    if _code(fault) in _OTHER:
                        return None
                    raise
        return None

    def put(self, key: str, data: bytes) -> str:
        """Write an object, whatever is there; its tag."""
        with self._told(key):
            return str(_client().put_object(Bucket=self.name, Key=key, Body=data)["ETag"])

    def swap(self, key: str, data: bytes, after: str = "") -> str | None:
        """Write an object if the one there has the tag `after`; without, if there is none.

        Returns its tag, or None if it was not written. One that a lost answer makes us write twice
        is found to be ours.
        """
        condition = {"IfMatch": after} if after else {"IfNoneMatch": "*"}
        with self._told(key):
            for _ in range(ATTEMPTS):
                try:
                    done = _client().put_object(Bucket=self.name, Key=key, Body=data, **condition)
                    return str(done["ETag"])
                except _errors() as fault:
                    if _code(fault) not in _OTHER | _BUSY:
                        raise
                    there = self.get(key)
                    if there and there[0] == data:
                        return there[1]
                    if _code(fault) in _OTHER:
                        return None
        return None

    def drop(self, keys: Iterable[str]) -> None:
        """Delete objects, in this order as far as requests go; one that is not there is gone."""
        waiting = list(keys)
        for i in range(0, len(waiting), _AT_ONCE):
            some = [{"Key": key} for key in waiting[i : i + _AT_ONCE]]
            with self._told(waiting[i]):
                asked = {"Objects": some, "Quiet": True}
                told = _client().delete_objects(Bucket=self.name, Delete=asked)
            if errors := told.get("Errors"):
                raise self._fault(errors[0]["Key"], errors[0].get("Code", "not deleted"))

    def entries(self, prefix: str) -> dict[str, Entry]:
        """All objects whose keys begin so, by what follows in their keys."""
        found = {}
        for page in self._pages(prefix):
            for one in page.get("Contents", ()):
                found[one["Key"][len(prefix) :]] = Entry(one["ETag"], one["Size"])
        return found

    def names(self, prefix: str) -> set[str]:
        """What lies directly below a prefix that ends with a slash: objects and folders."""
        found = set()
        for page in self._pages(prefix, Delimiter="/"):
            keys = [one["Key"] for one in page.get("Contents", ())]
            keys += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
            found |= {key[len(prefix) :].rstrip("/") for key in keys}
        return found - {""}

    def _pages(self, prefix: str, **more: str) -> Iterator[Mapping[str, Any]]:
        with self._told(prefix):
            pages = _client().get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.name, Prefix=prefix, **more)

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Have what fails in the body say where, in one line."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as fault:
            raise self._fault(
                key, f"{_code(fault)}, {fault.response['Error'].get('Message')}"
            ) from fault
        except (BotoCoreError, OSError) as fault:
            if isinstance(fault, StoreFault):
                raise
            raise self._fault(key, str(fault)) from fault

    def _fault(self, key: str, why: str) -> StoreFault:
        return StoreFault(
            f"s3://{self.name}/{key}: the bucket fails ({' '.join(why.split())}). Mend that, and "
            "give the same command again: nothing that finished is lost."
        )


@functools.cache
def _client() -> Any:
    import boto3
    from botocore.config import Config

    retries: dict[str, Any] = {"mode": "standard"}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = ATTEMPTS
    how = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries=retries,
        max_pool_connections=16,
        user_agent_extra="metasearch",
    )
    region = os.environ.get("AWS_REGION")  # boto3 looks for AWS_DEFAULT_REGION alone
    return boto3.client("s3", region_name=region, config=how)


def _too_long(where: str, size: int) -> str:
    return (
        f"{where}: {size / 2**20:,.0f} MiB; read are objects of at most {MOST / 2**20:,.0f} MiB. "
        "metasearch did not write it: delete it, or take the run from another copy."
    )


def _errors() -> type[Exception]:
    from botocore.exceptions import ClientError

    found: type[Exception] = ClientError
    return found


def _code(fault: Any) -> str:
    return str(fault.response["Error"].get("Code", ""))
