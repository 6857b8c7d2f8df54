"""Between a desk and a scheduler that knows trials by ids of its own. Knows no Ray."""

from __future__ import annotations

from metasearch.search.addresses import to_search
from metasearch.search.backend import Desk, Message, Order
from metasearch.search.retries import cause_of_death
from metasearch.search.worker import last_words


class Bridge:
    """Which trial of the scheduler's is which of ours, and what becomes of it."""

    def __init__(self, desk: Desk, slots: int) -> None:
        self.desk = desk
        self.slots = slots
        self.live: dict[str, Order] = {}  # by the scheduler's id
        self.errors: dict[str, str] = {}
        self.preempted: set[str] = set()  # whose machine was taken away after a notice
        self.fault: Exception | None = None  # of the desk; ends the run

    @property
    def stopping(self) -> bool:
        """Whether trials that wait for a worker are to be dropped."""
        return self.fault is not None or self.desk.stopping

    @property
    def over(self) -> bool:
        """Whether there will be no order any more, not even for a trial that fails now."""
        return self.fault is not None or not (self.desk.open or self.live)

    def suggest(self, trial_id: str) -> Order | None:
        """A trial to run under this id, if there is one and a slot for it."""
        if not self.desk.open or len(self.live) >= self.slots:
            return None
        order = self.desk.next()
        if order is not None:
            self.live[trial_id] = order
        return order

    def heard(self, trial_id: str, message: Message) -> bool:
        """Pass a message on; True: the trial is over, or is to stop here."""
        try:
            over = self.fault is not None or self.desk.heard(self.live[trial_id].number, message)
        except Exception as fault:  # a scheduler would turn it into a text
            self.fault, over = fault, True
        if over:
            self.live.pop(trial_id, None)
        return over

    def died(self, trial_id: str) -> None:
        """Tell the desk why a trial's worker is no more."""
        if trial_id in self.live and self.fault is None:
            text = self.errors.get(trial_id, "the worker died")
            stuck = last_words(to_search(self.live[trial_id].folder))
            taken = trial_id in self.preempted
            error = {"reason": "preempted" if taken else cause_of_death(text), "error": text}
            self.heard(trial_id, {"error": stuck or error})
        self.live.pop(trial_id, None)
