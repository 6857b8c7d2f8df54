"""Every error a user can cause, each with the exit code the command line ends with.

    MetasearchError
    +-- ConfigError       2  the search file or a flag
    +-- DataError         2  the images, their layout, their split
    +-- RunError          2  a run folder that cannot be read or continued
    +-- BundleError       2  an exported bundle that cannot be read
    +-- NoUsableTrial     3  the search ended and nothing can be exported
    +-- EnvironmentFault  4  the machine, the cluster, a missing package

A message says where and what came, what is allowed, and what to do.
"""

from __future__ import annotations


class MetasearchError(Exception):
    """The root of what this package raises on purpose. Its text is for people."""

    exit_code = 1


class ConfigError(MetasearchError, ValueError):
    """A search file or a flag says something that cannot be run."""

    exit_code = 2


class DataError(MetasearchError, ValueError):
    """A task source cannot be read, or holds too little."""

    exit_code = 2


class RunError(MetasearchError, ValueError):
    """A run folder is missing, damaged, in use, or does not fit the command."""

    exit_code = 2


class BundleError(MetasearchError, ValueError):
    """A bundle is missing a part, was changed, or is of an unknown format."""

    exit_code = 2


class NoUsableTrial(MetasearchError, RuntimeError):  # noqa: N818 - reads as a statement
    """The search ended without one finished trial."""

    exit_code = 3


class EnvironmentFault(MetasearchError, RuntimeError):  # noqa: N818
    """Something this machine or cluster lacks."""

    exit_code = 4
