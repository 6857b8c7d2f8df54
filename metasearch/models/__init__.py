"""What is learned: generative families, one file each."""

from metasearch.models.gan import GAN
from metasearch.models.vae import VAE
from metasearch.registry import Table

MODELS = Table("model", {"vae": VAE, "gan": GAN}, room="models")
