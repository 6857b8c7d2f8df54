"""How it is meta-learned: one file per meta-algorithm."""

from metasearch.algorithms.anil import ANIL
from metasearch.algorithms.imaml import IMAML
from metasearch.algorithms.joint import Joint
from metasearch.algorithms.maml import MAML
from metasearch.algorithms.meta_sgd import MetaSGD
from metasearch.algorithms.reptile import Reptile
from metasearch.algorithms.scratch import Scratch
from metasearch.registry import Table

ALGORITHMS = Table(
    "algorithm",
    {
        "scratch": Scratch,
        "joint": Joint,
        "reptile": Reptile,
        "maml": MAML,
        "anil": ANIL,
        "meta_sgd": MetaSGD,
        "imaml": IMAML,
    },
    room="algorithms",
)
