"""When one space is within another."""

from __future__ import annotations

import copy

import pytest

from metasearch import space

OLD = {
    "lr": {"log_uniform": [1e-3, 1e-2]},
    "steps": {"integers": [2, 4]},
    "model": {"choice": [{"name": "vae", "beta": {"uniform": [0.1, 1.0]}, "code": 8}, "none"]},
    "widths": [8, {"choice": [16, 32]}],
    "budget": 100,
}


def changed(*path, to):
    new = copy.deepcopy(OLD)
    node = new
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = to
    return new


@pytest.mark.parametrize("new", [
    OLD,
    changed("lr", to={"log_uniform": [1e-4, 1e-2]}),
    changed("steps", "integers", to=[1, 9]),
    changed("model", "choice", to=[{"name": "gan"}, "none", OLD["model"]["choice"][0]]),
    changed("model", "choice", 0, "beta", to={"uniform": [0.0, 1.0]}),
    changed("widths", 1, "choice", to=[64, 32, 16]),
])  # fmt: skip
def test_what_only_widens_narrows_nothing(new):
    assert space.narrowed(OLD, new) == []


@pytest.mark.parametrize(("new", "said"), [
    (changed("lr", to={"log_uniform": [2e-3, 1e-1]}), "lr: was drawn from [0.001, 0.01]"),
    (changed("lr", to={"uniform": [1e-3, 1e-2]}), "lr: was {'log_uniform'"),
    (changed("steps", to=3), "steps: was {'integers': [2, 4]} and is 3"),
    (changed("budget", to={"choice": [100, 200]}), "budget: was 100"),
    (changed("budget", to=200), "budget: was 100 and is 200"),
    (changed("model", "choice", to=["none"]), "model: 'vae' was an option"),
    (changed("model", "choice", 0, "code", to=16), "model.vae.code: was 8 and is 16"),
    (changed("model", "choice", 1, to={"name": "none"}), "model: 'none' was an option"),
    (changed("widths", to=[8]), "widths[1]: was there"),
    (changed("widths", to=8), "widths: was [8, {'choice': [16, 32]}] and is 8"),
    ({**OLD, "extra": 1}, "extra: was not there"),
])  # fmt: skip
def test_what_narrows_is_named(new, said):
    (found,) = space.narrowed(OLD, new)
    assert found.startswith(said)
