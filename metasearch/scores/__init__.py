"""How good it is on tasks never seen: one file per score."""

from metasearch.registry import Table
from metasearch.scores.critic import JSD
from metasearch.scores.likelihood import NLL
from metasearch.scores.mmd import MMD

SCORES = Table("score", {"nll": NLL, "mmd": MMD, "jsd": JSD}, room="scores")
