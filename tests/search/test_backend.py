"""What a backend offers, by arithmetic and by knocking."""

from __future__ import annotations

import socket

import pytest

from metasearch.errors import EnvironmentFault
from metasearch.search.backend import Resources, knock


@pytest.mark.parametrize(
    ("need", "have", "slots"),
    [
        ({}, (8, 0), 8),
        ({"cpus_per_trial": 3}, (8, 0), 2),
        ({"max_concurrent": 2}, (8, 0), 2),
        ({"max_concurrent": 20}, (8, 0), 8),
        ({"gpus_per_trial": 1.0}, (8, 2), 2),
        ({"gpus_per_trial": 0.5}, (8, 2), 4),
        ({"gpus_per_trial": 0.4}, (8, 2), 4),  # a fifth of one GPU and of the other make no trial
        ({"gpus_per_trial": 2.0}, (8, 5), 2),
        ({"gpus_per_trial": 0.25}, (3, 2), 3),
    ],
)
def test_so_many_trials_fit(need, have, slots):
    assert Resources(**need).fit([have]) == slots


def test_trials_are_counted_machine_by_machine():
    assert Resources(gpus_per_trial=2.0).fit([(8, 3), (8, 3), (8, 1)]) == 2
    assert Resources(cpus_per_trial=2).fit([(3, 0), (3, 0)]) == 2
    with pytest.raises(EnvironmentFault, match=r"there are 8 CPUs and 4 GPUs on 2 machines, none"):
        Resources(gpus_per_trial=4.0).fit([(4, 2), (4, 2)])


def test_what_is_to_be_measured_takes_no_gpu_until_it_was():
    auto = Resources(gpus_per_trial="auto")
    assert auto.fit([(4, 2)]) == 4 and auto.sized(0.5).fit([(8, 2)]) == 4


@pytest.mark.parametrize(
    ("need", "have"),
    [({"cpus_per_trial": 3}, (2, 0)), ({"gpus_per_trial": 0.5}, (2, 0)), ({}, (0.5, 1))],
)
def test_what_does_not_fit_once_is_refused(need, have):
    with pytest.raises(EnvironmentFault, match=r"a trial needs .* CPUs and .* GPUs; there are"):
        Resources(**need).fit([have])


def test_an_address_where_somebody_listens_is_fine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        knock(f"127.0.0.1:{server.getsockname()[1]}")
    knock("auto")


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(EnvironmentFault, match=f"no Ray cluster answers at '127.0.0.1:{port}'"):
        knock(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_addresses_of_other_doors_are_refused(address):
    with pytest.raises(EnvironmentFault, match="ray job submit"):
        knock(address)
