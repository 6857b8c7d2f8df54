"""Several trials as one: their weights averaged, or what they draw mixed. Chosen on `confirm`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from metasearch.algorithms.base import Adapter
from metasearch.algorithms.mixture import AnyAdapter, MixtureAdapter
from metasearch.rng import Stream
from metasearch.scores.features import one_thread
from metasearch.search.confirm import Candidate, Tell, panel_of
from metasearch.selectors import SELECTORS
from metasearch.selectors.base import Arms, Evidence
from metasearch.trial.judge import CHUNK, Panel
from metasearch.trial.loop import Bench
from metasearch.trial.member import Member
from metasearch.trial.population import Champion, soup
from metasearch.trial.validation import Validation

LEAST = 0.02  # a share below it is left out: it would cost as much to adapt as any other
Together = Literal["none", "mixture", "greedy", "soup"]
"""`none`, or a rule for models whose `final` decides by evidence alone."""


def assemble(
    candidates: Sequence[Candidate], winner: Candidate, bench: Bench, rule: Together, *, tell: Tell
) -> tuple[Candidate, dict[str, Any]]:
    """The candidates as one, or the winner if that is no better on the `confirm` tasks.

    So what is exported is there never worse than the winner, whatever the rule fits. A soup takes
    trials in that are `alike`; where nobody can be joined, the winner stays. Also given is what was
    found, as plain data.
    """
    merges = rule == "soup"
    pool = [c for c in distinct(candidates, winner) if not merges or alike(c, winner)]
    looks = _looks(panel_of(winner.config, bench, "confirm"), winner)
    with one_thread():
        evidence, pool = _sound(_evidence(looks, [c.adapter for c in pool]), pool)
        if winner not in pool or len(pool) < 2:
            return winner, {"rule": rule, "members": [], "taken": False}
        if merges:
            evidence = replace(
                evidence,
                loss_of=lambda w: float(_losses(looks, _averaged(pool, w, evidence)).mean()),
            )
        shares = _shares(rule, evidence, len(pool))
        joined = _averaged(pool, shares, evidence) if merges else _mixed(pool, shares)
        after = float(_losses(looks, joined).mean())
    alone = float(evidence.losses[pool.index(winner)].mean())
    taken = bool(np.count_nonzero(shares) > 1 and after < alone)
    sign = 1 if winner.config.score.direction == "minimize" else -1
    members = [(c, float(s)) for c, s in zip(pool, shares, strict=True) if s]
    told = {
        "rule": rule,
        "members": [
            {"trial": c.record.number, "name": c.record.info.name, "share": share}
            for c, share in members
        ],
        "confirm": sign * after,
        "single": sign * alone,
        "taken": taken,
    }
    tell(f"{rule} of {len(members)}: {sign * after:.4g} on confirm, alone {sign * alone:.4g}")
    if not taken:
        return winner, told
    champion = Champion(joined, winner.champion.algorithm, winner.champion.family)
    numbers = tuple((c.record.number, share) for c, share in members)
    return replace(winner, champion=champion, together=numbers), told


def distinct(candidates: Sequence[Candidate], winner: Candidate) -> list[Candidate]:
    """The winner, and of the others one of each recipe: a recipe tried twice is one model twice."""
    kept = [winner]
    for candidate in candidates:
        if all(candidate.config != one.config for one in kept):
            kept.append(candidate)
    return [c for c in candidates if any(c is one for one in kept)]


def alike(one: Candidate, other: Candidate) -> bool:
    """Whether two trials began at the same weights of the same model, so that averaging may help.

    Source: Wortsman et al., "Model soups", 2022, section 2: one initialisation.
    """
    a, b = one.config, other.config
    return (
        (a.seed, a.models) == (b.seed, b.models)
        and len(a.models) == 1
        and one.champion.parts[0][0].rates.keys() == other.champion.parts[0][0].rates.keys()
    )


def _looks(panel: Panel, winner: Candidate) -> list[Validation]:
    """The tasks of a panel, as many at once as judging takes."""
    n = len(panel.tasks)
    some = [range(at, min(at + CHUNK, n)) for at in range(0, n, CHUNK)]
    return [
        Validation(replace(panel, episodes=panel.episodes.select(few)), winner.config.engine)
        for few in some
    ]


def _losses(looks: Sequence[Validation], adapter: AnyAdapter) -> np.ndarray:
    return np.concatenate([look.losses(adapter) for look in looks])


def _evidence(looks: Sequence[Validation], adapters: Sequence[AnyAdapter]) -> Evidence:
    """What is known of all on all tasks: nats side by side, kernels as means over tasks."""
    found = [look.evidence(adapters) for look in looks]
    sizes = np.array([look.tasks for look in looks], float)

    def mean(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        known = [part for part in parts if part is not None]
        return np.average(known, axis=0, weights=sizes) if len(known) == len(sizes) else None

    nats = [part.log_likelihood for part in found if part.log_likelihood is not None]
    return Evidence(
        np.concatenate([part.losses for part in found], 1),
        log_likelihood=np.concatenate(nats, 1) if nats else None,
        gram=mean([part.gram for part in found]),
        cross=mean([part.cross for part in found]),
    )


def _sound(evidence: Evidence, pool: Sequence[Candidate]) -> tuple[Evidence, list[Candidate]]:
    """Without those that diverge on any task."""
    kept = np.flatnonzero(np.isfinite(evidence.losses).all(1))
    nats, gram, cross = evidence.log_likelihood, evidence.gram, evidence.cross
    few = Evidence(
        evidence.losses[kept],
        log_likelihood=None if nats is None else nats[kept],
        gram=None if gram is None else gram[np.ix_(kept, kept)],
        cross=None if cross is None else cross[kept],
    )
    return few, [pool[int(i)] for i in kept]


def _shares(rule: Together, evidence: Evidence, n: int) -> np.ndarray:
    selector = SELECTORS[rule]()
    state = selector.init(Arms(n, np.zeros(n, np.int64)))
    shares = selector.final(state, evidence, Stream(0).at("ensemble").numpy())
    shares = np.where(shares < LEAST, 0.0, shares)
    whole: np.ndarray = shares / shares.sum()
    return whole


def _mixed(pool: Sequence[Candidate], shares: np.ndarray) -> MixtureAdapter:
    """All with a share; of one that is a mixture itself, its parts."""
    parts = [
        (adapter, float(share) * own)
        for candidate, share in zip(pool, shares, strict=True)
        for adapter, own in candidate.champion.parts
        if share
    ]
    return MixtureAdapter(tuple(a for a, _ in parts), tuple(w for _, w in parts))


def _averaged(pool: Sequence[Candidate], shares: np.ndarray, evidence: Evidence) -> Adapter:
    """The mean of weights and learned rates, with the inner loop of the best."""
    adapters = [candidate.champion.parts[0][0] for candidate in pool]
    found = [int(i) for i in np.flatnonzero(shares)]
    members = [Member.of(adapters[i].learner, [adapters[i].rates]) for i in found]
    one = soup(members, [float(shares[i]) for i in found])
    best = int(evidence.losses.mean(1).argmin())
    return Adapter(one.learner, adapters[best].inner, one.rates[0])
