"""What is tried again, how often, and why a worker died."""

from __future__ import annotations

import re
import sys
from collections import Counter, deque

from metasearch.search.backend import Desk, Message, Order


class Retries:
    """A desk before the desk: hands an order out again where that may help, so often per trial.

    A worker that died and a disk that failed are no fault of the trial's: it goes on `retries`
    times from its last checkpoint. One that ran out of memory is tried once more, with twice the
    resources, if the backend has `roomier` ones to offer. A machine that was taken away after a
    notice costs none of these. All else would happen again.
    """

    def __init__(self, desk: Desk, retries: int, *, roomier: bool) -> None:
        """Nothing has failed yet."""
        self._desk = desk
        self._left = {
            "infrastructure": retries,
            "preempted": sys.maxsize,  # announced, so no sign of anything wrong
            "storage": retries,  # another machine's disk may have room
            "out_of_memory": 1 if roomier else 0,
        }
        self._failed: Counter[tuple[int, str]] = Counter()
        self._out: dict[int, Order] = {}  # with workers
        self._again: deque[Order] = deque()
        self._starved: list[Order] = []

    @property
    def open(self) -> bool:
        """Whether there may be another order, now or later."""
        return (bool(self._again) and not self.stopping) or self._desk.open

    @property
    def stopping(self) -> bool:
        """Whether trials that have not begun are to be dropped."""
        return self._desk.stopping

    def next(self) -> Order | None:
        """A trial to run: one that failed, or a new one."""
        if self._again and not self.stopping:
            order: Order | None = self._again.popleft()
        else:
            order = self._desk.next()
        if order is not None:
            self._out[order.number] = order
        return order

    def heard(self, number: int, message: Message) -> bool:
        """Pass a message on, but for an error that the trial gets another chance after."""
        reason = message["error"]["reason"] if "error" in message else ""
        order = self._out.get(number)
        if order is None or self._failed[number, reason] >= self._left.get(reason, 0):
            return self._desk.heard(number, message)
        del self._out[number]
        self._failed[number, reason] += 1
        if not self.stopping:  # else it is left as it is, for the next sitting
            (self._starved if reason == "out_of_memory" else self._again).append(order)
        return True

    def give_room(self) -> bool:
        """Hand out next what ran out of memory, if anything did."""
        self._again.extend(self._starved)
        self._starved.clear()
        return bool(self._again)


def cause_of_death(text: str) -> str:
    """Why a worker died, in a word, from what Ray says of it.

    A machine that hears SIGTERM is taken away by somebody; it may be gone before its notice is.
    """
    if re.search("node was terminated expectedly", text):
        return "preempted"
    starved = re.search("out of memory|low on memory|memory usage threshold", text, re.IGNORECASE)
    return "out_of_memory" if starved else "infrastructure"
