"""Who gets a turn: one file per rule."""

from metasearch.registry import Table
from metasearch.selectors.blend import Blend
from metasearch.selectors.diverse import Diverse
from metasearch.selectors.dro import DRO
from metasearch.selectors.elastic import Elastic
from metasearch.selectors.exp3s import Exp3S
from metasearch.selectors.greedy import Greedy
from metasearch.selectors.guided import Guided
from metasearch.selectors.gxd import GxD
from metasearch.selectors.halving import Halving
from metasearch.selectors.mixture import Mixture
from metasearch.selectors.mutual import Mutual
from metasearch.selectors.ohtm import OHTM
from metasearch.selectors.paced import Paced
from metasearch.selectors.plr import PLR
from metasearch.selectors.race import Race
from metasearch.selectors.random import Random
from metasearch.selectors.relay import Relay
from metasearch.selectors.soup import Soup
from metasearch.selectors.tournament import Tournament

SELECTORS = Table(
    "selector",
    {
        "random": Random,
        "dro": DRO,
        "plr": PLR,
        "ohtm": OHTM,
        "paced": Paced,
        "exp3s": Exp3S,
        "diverse": Diverse,
        "guided": Guided,
        "race": Race,
        "blend": Blend,
        "relay": Relay,
        "halving": Halving,
        "tournament": Tournament,
        "gxd": GxD,
        "mixture": Mixture,
        "greedy": Greedy,
        "soup": Soup,
        "elastic": Elastic,
        "mutual": Mutual,
    },
    room="selectors",
)
