"""How good it is on tasks never seen: one file per score."""

from metasearch.registry import Table
from metasearch.scores.c2st import C2ST
from metasearch.scores.copying import Copying
from metasearch.scores.cost import AdaptationCost
from metasearch.scores.coverage import Coverage
from metasearch.scores.cycle import Cycle
from metasearch.scores.density import Density
from metasearch.scores.diversity import Diversity
from metasearch.scores.frechet import Frechet
from metasearch.scores.identity import Identity
from metasearch.scores.jsd import JSD
from metasearch.scores.kid import KID
from metasearch.scores.likelihood import NLL
from metasearch.scores.mmd import MMD
from metasearch.scores.paired import Paired
from metasearch.scores.precision import Precision
from metasearch.scores.probe import Probe
from metasearch.scores.recall import Recall
from metasearch.scores.recognition import Recognition
from metasearch.scores.reconstruction import Reconstruction

SCORES = Table(
    "score",
    {
        "nll": NLL,
        "mmd": MMD,
        "kid": KID,
        "frechet": Frechet,
        "jsd": JSD,
        "c2st": C2ST,
        "precision": Precision,
        "recall": Recall,
        "density": Density,
        "coverage": Coverage,
        "diversity": Diversity,
        "copying": Copying,
        "recognition": Recognition,
        "cost": AdaptationCost,
        "reconstruction": Reconstruction,
        "probe": Probe,
        "paired": Paired,
        "cycle": Cycle,
        "identity": Identity,
    },
    room="scores",
)
