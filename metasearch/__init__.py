"""Search for the recipe that meta-learns a generative model of a new class from few images."""

__version__ = "0.1.0"
