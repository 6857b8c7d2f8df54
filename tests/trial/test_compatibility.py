"""What goes with what: one sentence each, and the table of the guide."""

from __future__ import annotations

import pytest

from metasearch.algorithms import ALGORITHMS, ANIL, IMAML, MAML, Joint, MetaSGD, Reptile, Scratch
from metasearch.engine.base import InnerLoop
from metasearch.models import GAN, VAE
from metasearch.models.adversarial import Hinge, Wasserstein
from metasearch.trial.compatibility import misfit
from tests.house import ROOT

FAMILIES = {
    "one player": VAE(),
    "a game": GAN(),
    "a game with a gradient penalty": GAN(objective=Wasserstein()),
    "a game with spectral norm": GAN(objective=Hinge(), spectral=True),
}
SETTINGS = {
    "scratch, joint, reptile": (Scratch(), Joint(), Reptile()),
    "maml, anil, meta_sgd; first order": tuple(a(first_order=True) for a in (MAML, ANIL, MetaSGD)),
    "maml, anil, meta_sgd; second order": tuple(a(first_order=False) for a in (MAML, ANIL, MetaSGD)),
    "maml with outer: mmd or query_critic": tuple(
        MAML(first_order=True, outer=outer) for outer in ("mmd", "query_critic")
    ),
    "maml with cross_player: through": (MAML(cross_player="through"),),
    "imaml": (IMAML(),),
}  # fmt: skip
AT_ONCE = InnerLoop(play="simultaneous")


def table() -> str:
    """The compatibility of every kind of algorithm with every kind of family."""
    lines = ["| | " + " | ".join(FAMILIES) + " |", "|---|" + "---|" * len(FAMILIES)]
    for name, algorithms in SETTINGS.items():
        cells = []
        for family in FAMILIES.values():
            told = {bool(misfit(algorithm, family)) for algorithm in algorithms}
            assert len(told) == 1, f"{name} does not answer as one"
            cells.append("no" if told.pop() else "yes")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_guide_shows_what_goes_with_what():
    page = (ROOT / "docs" / "guides" / "what-goes-with-what.md").read_text("utf-8")
    assert table() in page, f"put this into the page:\n{table()}"


def test_the_table_has_a_row_for_every_algorithm():
    shown = {a.name for algorithms in SETTINGS.values() for a in algorithms}
    assert shown == set(ALGORITHMS)


@pytest.mark.parametrize(
    ("algorithm", "family", "said"),
    [
        (
            MAML(),
            GAN(objective=Wasserstein()),
            "does not have where the critic is flat. Set first_order",
        ),
        (MetaSGD(), GAN(spectral=True), "Set first_order: true, or spectral: false"),
        (IMAML(), GAN(), "a game of several players has no such thing"),
        *(
            (kind(inner=InnerLoop(rates="per_step")), VAE(), "Set inner.rates: fixed")
            for kind in (IMAML, Joint, Reptile, Scratch)
        ),
        (MAML(outer="mmd"), VAE(), "Set outer: player_losses"),
        (Joint(inner=AT_ONCE), GAN(critic_steps=2), "those of 'gan' take 3 turns"),
        (
            MAML(cross_player="through", outer="query_critic"),
            GAN(),
            "by a critic that is forgotten",
        ),
        (MAML(cross_player="through"), VAE(), "Set cross_player: stop"),
        (MAML(cross_player="through", first_order=True), GAN(), "Set cross_player: stop"),
    ],
)
def test_a_misfit_says_why_and_what_to_do(algorithm, family, said):
    assert said in misfit(algorithm, family)


def test_players_with_a_turn_each_may_move_at_once():
    assert not misfit(Joint(inner=AT_ONCE), GAN())
    assert not misfit(Joint(inner=AT_ONCE), VAE())
    assert not misfit(MAML(cross_player="through", outer="mmd"), GAN())


def test_settings_deep_inside_a_family_are_found():
    class Outer(GAN):
        """A family of someone else's."""

    assert misfit(MAML(), Outer(objective=Wasserstein()))
    assert not misfit(MAML(), Outer(objective=Hinge()))
