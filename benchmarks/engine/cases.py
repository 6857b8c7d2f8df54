"""What is timed by default, and which implementations there are."""

from __future__ import annotations

from functools import partial

from benchmarks.engine import byhand, ours, packaged
from benchmarks.engine.cyclegan import CycleGAN
from benchmarks.engine.harness import Implementation
from benchmarks.engine.work import Case
from metasearch.models.adversarial import NonSaturating, Wasserstein
from metasearch.models.gan import GAN
from metasearch.models.nets import Conv, Mlp
from metasearch.models.vae import VAE

IMPLEMENTATIONS = (
    Implementation("batched", ours.batched, "ours"),
    Implementation("loop", ours.loop, "ours"),
    Implementation("learn2learn", packaged.learn2learn, "packaged"),
    Implementation("higher", packaged.higher, "packaged"),
    Implementation("torchopt", packaged.torchopt_stateful, "packaged"),
    Implementation("torchopt-func", packaged.torchopt_functional, "packaged"),
    Implementation("copies", byhand.copies, "by hand"),
    Implementation("functional", byhand.functional, "by hand"),
    Implementation("vmap", byhand.batch_of_tasks, "by hand"),
    Implementation("vmap-4", partial(byhand.batch_of_tasks, chunk=4), "by hand", slow=True),
    Implementation(
        "vmap-compile", partial(byhand.batch_of_tasks, compiled=True), "by hand", slow=True
    ),
    Implementation("supervised", ours.supervised, "yardstick"),
)
"""The first is what all others are set against."""

REFERENCE = ours.loop

_CONV = Conv(width=32, norm="none")
_CONV_VAE = partial(Case, "conv-vae", VAE(latent=32, net=_CONV))
_NORMED_VAE = partial(Case, "conv-vae-gn", VAE(latent=32, net=Conv(width=32, norm="group")))
_MLP_VAE = partial(Case, "mlp-vae", VAE(latent=32, net=Mlp(hidden=256, depth=1)))
_GAN = partial(
    Case, "conv-gan", GAN(latent=64, net=_CONV, objective=NonSaturating(r1=0.0)), lr=1e-2
)
_R1_GAN = partial(Case, "conv-gan-r1", GAN(latent=64, net=_CONV), lr=1e-3, tasks=8, steps=3)
_WGAN = partial(
    Case, "wgan-gp", GAN(latent=64, net=_CONV, objective=Wasserstein()), lr=1e-3, tasks=8, steps=3
)
_CYCLE = partial(Case, "cyclegan", CycleGAN(width=16), tasks=8, steps=3)

CASES = (
    _CONV_VAE("maml", goal=1.4),
    _CONV_VAE("fomaml", goal=1.4),
    _CONV_VAE("reptile", steps=10, goal=1.4),
    _CONV_VAE("fomaml", images=10),
    _CONV_VAE("maml", images=20),
    _CONV_VAE("fomaml", images=20),
    _CONV_VAE("fomaml", side=32, goal=1.4),
    _CONV_VAE("fomaml", "adam", goal=1.0),
    _CONV_VAE("maml", "adam", goal=1.0),
    _NORMED_VAE("fomaml", goal=1.4),
    _MLP_VAE("maml", goal=3.5),
    _MLP_VAE("fomaml", goal=3.5),
    _MLP_VAE("reptile", steps=10, goal=3.5),
    _MLP_VAE("fomaml", images=10, goal=2.0),
    _MLP_VAE("maml", images=20, goal=2.0),
    _MLP_VAE("fomaml", images=20, goal=2.0),
    _MLP_VAE("fomaml", side=32, goal=3.5),
    _MLP_VAE("fomaml", "adam", goal=1.0),
    _MLP_VAE("maml", "adam", goal=1.0),
    _GAN("maml", goal=1.4),
    _GAN("fomaml", goal=1.4),
    _GAN("reptile", steps=10, goal=1.4),
    _GAN("fomaml", images=20),
    _GAN("fomaml", side=32, goal=1.4),
    _GAN("fomaml", "adam", lr=1e-4, goal=1.0),
    _R1_GAN("fomaml"),
    _WGAN("fomaml"),
    _WGAN("reptile", steps=5),
    _CYCLE("fomaml"),
    _CYCLE("maml"),
    _CYCLE("reptile", steps=5),
)

QUICK = (
    "conv-vae/maml/sgd/5x28",
    "conv-vae/fomaml/sgd/5x28",
    "conv-vae/fomaml/sgd/10x28",
    "conv-vae/fomaml/adam/5x28",
    "mlp-vae/maml/sgd/5x28",
    "mlp-vae/fomaml/sgd/5x28",
    "mlp-vae/reptile/sgd/5x28",
    "mlp-vae/fomaml/sgd/20x28",
    "mlp-vae/fomaml/adam/5x28",
    "conv-gan/fomaml/sgd/5x28",
    "wgan-gp/fomaml/sgd/5x28",
    "cyclegan/fomaml/sgd/5x28",
)
"""Names of the cases that stand for the rest when time is short."""

THROUGHPUT = ("conv-vae/fomaml/sgd/5x28", "mlp-vae/fomaml/sgd/5x28")
"""Names of the cases on which throughput is measured."""
