"""What is learned: generative families, one file each."""

from metasearch.models.aae import AAE
from metasearch.models.autoregressive import Autoregressive
from metasearch.models.cgan import CGAN
from metasearch.models.classical import Classical
from metasearch.models.cyclegan import CycleGAN
from metasearch.models.flow import FlowMatching
from metasearch.models.gan import GAN
from metasearch.models.rgan import RGAN
from metasearch.models.setvae import SetVAE
from metasearch.models.vae import VAE
from metasearch.models.vaegan import VAEGAN
from metasearch.registry import Table

MODELS = Table(
    "model",
    {
        "vae": VAE,
        "gan": GAN,
        "cgan": CGAN,
        "cyclegan": CycleGAN,
        "vaegan": VAEGAN,
        "aae": AAE,
        "rgan": RGAN,
        "setvae": SetVAE,
        "autoregressive": Autoregressive,
        "flow_matching": FlowMatching,
        "classical": Classical,
    },
    room="models",
    ambiguous={
        "cgans": (
            "cyclegan (cycle-consistent, translates; tasks: pairs), cgan (conditional, draws by "
            "class; tasks: conditional) and rgan (recurrent; tasks: any of images, or strokes). "
            "Each learns from tasks of its own kind, so name one of them; search_spaces/ has "
            "cyclegan.yaml, cgan.yaml and rgan-rows.yaml to start from."
        )
    },
)
