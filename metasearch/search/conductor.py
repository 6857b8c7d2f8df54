"""The desk that a backend works for: asks, listens, judges, writes down, and tells.

Ledger first: what is not in it did not happen; what is, is never run again.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from metasearch.errors import ConfigError
from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.observe.text import gist
from metasearch.search.audience import Audience
from metasearch.search.backend import Message, Order, trial_name
from metasearch.search.files import write_atomically
from metasearch.search.ledger import Ledger, Record
from metasearch.search.limits import Spent, cut_short
from metasearch.search.live import Live
from metasearch.search.pace import Pace
from metasearch.search.paddock import Paddock
from metasearch.search.revival import revive_report
from metasearch.search.said import Answer, ended_with, no_room, untold
from metasearch.search.signals import Signals
from metasearch.search.study import Study
from metasearch.space import dump
from metasearch.trial.report import Report, SampleGrid

SAME_FAILURES = 5  # trials that fail alike, before any that does not, after which a search gives up

Fill = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Writes the defaults into a resolved tree; raises ConfigError if it cannot be run."""

Ending = Literal["", "trials", "time", "gradients", "gpu_hours", "interrupted", "failing"]


class Conductor:
    """Runs one sitting of a search; see `backend.Desk`."""

    def __init__(
        self,
        info: SearchInfo,
        ledger: Ledger,
        study: Study,
        audience: Audience,
        signals: Signals,
        fill: Fill = dict,
        pace: Pace | None = None,
    ) -> None:
        """Begin with nothing asked; `resume` takes over what was. With a pace, trials race."""
        self._info = info
        self._ledger = ledger
        self._study = study
        self._audience, self._signals = audience, signals
        self._fill = fill
        self._paddock = Paddock(pace, info, ledger.folder / "trials")
        self._live: dict[int, Live] = {}
        self._waiting: deque[TrialInfo] = deque()  # asked in an earlier sitting
        self._asked = 0
        self._spent = Spent(info, lambda: ledger.lease.elapsed_s)
        self._cut = False  # whether a limit ended trials that might have gone on
        self._failures: list[str] | None = []  # of this sitting; None once a trial did not fail

    def resume(self, past: Sequence[Record]) -> None:
        """Take over what earlier sittings left: end what is at its end, put the rest in a queue."""
        self._asked = len(past)
        done = [(r.info, r.outcome) for r in past if r.outcome]
        self._cut = any(cut_short(outcome) for _, outcome in done)
        self._audience.opened(self._info, done)
        for record in past:
            self._spent.add(record.last)
            if record.outcome is not None:
                scalars = record.last.scalars if record.last else {}
                _, begun = record.behind or (0, None)
                self._paddock.ended(record.info, record.outcome, record.curve, scalars, begun)
        for record in past:
            if record.outcome is None:
                self._take_over(record)
        for live in tuple(self._live.values()):
            if outcome := self._judge(live) if live.last else None:
                self._audience.started(live.info)  # it ended, and the driver before it wrote so
                self._end(live, outcome)
            elif live.aside or (live.unheard() and self._paddock.waits(live.info)):
                self._paddock.put(live.info)
            else:
                self._waiting.append(live.info)

    def _take_over(self, record: Record) -> None:
        live, said = Live.of(record)
        for report in said:
            if not report.lost:
                self._paddock.reported(record.info, report)
        self._live[record.number] = live
        self._spent.add(live.last)

    # What a backend sees ------------------------------------------------------------------------

    @property
    def ending(self) -> Ending:
        """Why no trial is asked any more; empty as long as some are."""
        self._signals.check()
        if self._signals.first:
            return "interrupted"
        if self._failures and len(self._failures) >= SAME_FAILURES and len({*self._failures}) == 1:
            return "failing"
        if self._asked >= self._info.trials:
            return "trials"
        return self._spent.limit

    @property
    def conclusion(self) -> Ending:
        """Why the sitting ended, once the backend has returned."""
        limit = self._spent.limit
        spent = "trials" if self._asked >= self._info.trials and not self._cut else limit
        return spent if spent and not self._live else self.ending

    @property
    def open(self) -> bool:
        """Whether there may be another order, now or later."""
        ending = self.ending
        ready = bool(self._waiting or self._paddock) and not (self.stopping or self._spent.limit)
        return not ending or ready

    @property
    def stopping(self) -> bool:
        """Whether running trials are to pause and stop, or stop at their next report."""
        return self.ending in {"interrupted", "failing"} or self._spent.late

    def next(self) -> Order | None:
        """A trial to run; those asked before come first."""
        if info := self._next() if self.open else None:
            order = self._order(info)
            self._audience.started(info)
            return order
        return None

    def heard(self, number: int, message: Message) -> bool:
        """Take a report or an error; True: the trial is over, or is to stop here."""
        live = self._live.get(number)
        if live is None:  # a late word of a trial that is over
            return True
        if "paused" in message:
            return self.stopping
        if "error" in message:
            if message["error"]["reason"] == "storage":
                place = f"{self._ledger.home.where}/trials/{live.info.name}"
                raise no_room(place, message["error"]["error"])
            self._fail(live, **message["error"])
            return True
        report = revive_report(message["report"])
        if live.last is None or report.step > live.last.step:
            if outcome := self._take_down(live, report, message["samples"]):
                self._end(live, outcome)
                return True
            if live.aside:
                self._paddock.put(live.info)
                self._audience.set_aside(live.info)
                return True
        return self.stopping

    def close(self) -> None:
        """Once the backend has returned: where a limit ended the search, end who is not over.

        They have their checkpoints; a sitting with a higher limit goes on with them.
        """
        limit = self._spent.limit
        if limit and self.ending != "interrupted":
            for live in tuple(self._live.values()):
                last = live.last
                cut = ended_with(last, "pruned", limit) if last else Outcome("pruned", limit)
                self._end(live, cut)

    # What happens behind the desk ---------------------------------------------------------------

    def _next(self) -> TrialInfo | None:
        if self._waiting:
            return self._waiting.popleft()
        ending = self.ending
        # Who waits goes on before recipes come again.
        if last := bool(ending) or self._study.repeating:
            self._end_beaten()
        return self._paddock.take(last=last) or (None if ending else self._ask())

    def _ask(self) -> TrialInfo:
        asked = self._study.ask(self._paddock.numbers)
        config = asked.config
        with contextlib.suppress(ConfigError):  # the worker will say so, and the trial has failed
            config = self._fill(config)
        info = TrialInfo(asked.number, trial_name(asked.number, config), asked.params, config)
        self._ledger.asked(info, asked.seed, asked.notes)
        self._asked += 1
        self._live[info.number] = Live(info)
        return info

    def _order(self, info: TrialInfo) -> Order:
        folder = self._ledger.folder / "trials" / info.name
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.yaml", dump(info.config), sync=False)
        place = f"{self._ledger.home.where}/trials/{info.name}"
        return Order(info.number, info.name, place, info.config, self._paddock.hurdles(info))

    def _take_down(
        self, live: Live, report: Report, samples: Mapping[str, Any] | None
    ) -> Outcome | None:
        """Write a report down, and with it the verdict; returns how the trial ends, if it does.

        It is kept, for a study that is rebuilt knows who ended since, and might judge otherwise.
        """
        self._spent.add(report, live.last)
        live.last = report
        self._tell_study(live, report)
        if not report.lost:
            self._paddock.reported(live.info, report)
        outcome = self._judge(live)
        live.aside = outcome is None and self._paddock.waits(live.info)
        answer: Answer = "" if outcome else "aside" if live.aside else "on"
        self._ledger.reported(live.info, report, answer)
        if report.whole:
            grid = SampleGrid(**samples) if samples else None
            self._audience.reported(live.info, Report(**{**vars(report), "samples": grid}))
        return outcome

    def _tell_study(self, live: Live, report: Report) -> None:
        """A score of some tasks is none: neither the study's curve nor a plot is told."""
        number = live.info.number
        if report.whole:
            live.curve.append((report.step, report.score))
            self._study.report(
                number, report.step, report.score, report.scalars, judge=not report.final
            )
        elif report.behind:
            self._study.expect(number, report.step, report.score)

    def _judge(self, live: Live) -> Outcome | None:
        """How a trial ends with its last report, if it does."""
        assert live.last is not None, "only what was reported is judged"
        if live.last.lost:
            step, spent, why = live.last.step, live.last.cost.seconds, live.last.lost
            return Outcome("pruned", "race", step=step, seconds=spent, detail=why)
        if not math.isfinite(live.last.score):
            return ended_with(live.last, "pruned", "non_finite")
        if live.last.final and (silent := untold(live.last, self._info.objectives)):
            return replace(ended_with(live.last, "pruned", "objective"), detail=silent)
        if live.last.final:
            kept = self._info.kept(live.last.scalars)
            return replace(ended_with(live.last, "complete", "finished"), kept=kept)
        stopped, limit = self._stopped(live, live.last), self._spent.limit
        return stopped or (ended_with(live.last, "pruned", limit) if limit else None)

    def _stopped(self, live: Live, last: Report) -> Outcome | None:
        """How the pruner or a race end a trial that would go on; neither takes back a verdict."""
        verdict = self._study.verdict(live.info.number)
        if verdict.stop:
            return replace(ended_with(last, "pruned", verdict.reason), detail=verdict.detail)
        if last.step > live.passed and (why := self._paddock.beaten(live.info)):
            return replace(ended_with(last, "pruned", "race"), detail=why)
        return None

    def _fail(self, live: Live, reason: str, error: str) -> None:
        folder = self._ledger.folder / "trials" / live.info.name
        write_atomically(folder / "error.txt", error + "\n", sync=False)
        if self._failures is not None:
            self._failures.append(f"{reason} {gist(error)}")
        last = live.last
        self._end(live, Outcome(
            "failed", reason, step=last.step if last else 0, error=error,
            seconds=last.cost.seconds if last else 0.0,
        ))  # fmt: skip

    def _end(self, live: Live, outcome: Outcome) -> None:
        number = live.info.number
        if outcome.state != "failed":
            self._failures = None
        self._cut = self._cut or cut_short(outcome)
        notes = self._study.notes(number)
        self._ledger.done(live.info, outcome, tuple(live.curve), live.last, notes)
        del self._live[number]
        told = live.last.scalars if live.last and live.last.whole else {}
        leads = self._paddock.ended(live.info, outcome, live.curve, told)
        self._study.tell(number, live.info.name, outcome, told)
        self._audience.ended(live.info, outcome)
        if leads:
            self._end_beaten()

    def _end_beaten(self) -> None:
        for trial, why in self._paddock.beaten_aside():
            live = self._live[trial.number]
            assert live.last is not None, "who waits has reported"
            self._end(live, replace(ended_with(live.last, "pruned", "race"), detail=why))
