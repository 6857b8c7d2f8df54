"""An adapted generator written as a program draws what the model draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from metasearch.algorithms.base import Adapter
from metasearch.bundle.adapted import Adaptation
from metasearch.bundle.base import Part
from metasearch.bundle.program import CLOSE, Program, about, write_program
from metasearch.engine.base import InnerLoop
from metasearch.errors import ConfigError, DataError, EnvironmentFault
from metasearch.models.aae import AAE
from metasearch.models.autoregressive import Autoregressive
from metasearch.models.base import GenerativeModel, Learner, example
from metasearch.models.cgan import CGAN
from metasearch.models.classical import Classical
from metasearch.models.cyclegan import CycleGAN
from metasearch.models.flow import FlowMatching
from metasearch.models.gan import GAN
from metasearch.models.nets import Conv, Mlp
from metasearch.models.rgan import RGAN
from metasearch.models.setvae import SetVAE
from metasearch.models.translators import Patches, Resnet
from metasearch.models.vae import VAE
from metasearch.models.vaegan import VAEGAN
from metasearch.rng import Stream
from metasearch.tasks.base import image_domains

SHAPE = (1, 16, 16)
SMALL = Mlp(hidden=8)
FAMILIES: dict[str, GenerativeModel] = {
    "vae": VAE(latent=3, net=SMALL),
    "vae, conv": VAE(latent=3, net=Conv(width=2, depth=0)),
    "vaegan": VAEGAN(latent=3, net=SMALL),
    "aae": AAE(latent=3, net=SMALL),
    "gan": GAN(latent=3, net=SMALL),
    "cgan": CGAN(latent=3, net=SMALL),
    "rgan": RGAN(latent=3),
    "setvae": SetVAE(latent=3, net=SMALL),
    "flow": FlowMatching(steps=2),
    "classical": Classical(),
    "cyclegan": CycleGAN(net=Resnet(width=2, depth=0), critic=Patches(width=2, halvings=1)),
}


def adapted(family: GenerativeModel, parts: int = 1, *, inverted: bool = False) -> Adaptation:
    """Adapted by one step to five random images."""
    made = [
        Part(
            Adapter(Learner.create(family, SHAPE, Stream(i)), InnerLoop(steps=1, lr=0.1)), 1 / parts
        )
        for i in range(parts)
    ]
    domains = image_domains(family.domains)
    support = {d: x for d, x in example(domains, SHAPE, 5, Stream(9)).items() if d in domains}
    labels = [0, 1, 2, 0, -1] if "y" in family.domains else None
    return Adaptation.learn(made, support, labels=labels, inverted=inverted)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_torch_export_wrote_draws_the_same_images_of_any_number(family, tmp_path):
    made = adapted(family)
    told = write_program(made, tmp_path / "deep" / "generator.pt2")
    assert told["difference"] <= CLOSE
    program = Program(made)
    loaded = torch.export.load(tmp_path / "deep" / "generator.pt2").module()
    for n in (1, 2, 7):
        inputs = program.inputs(n)
        assert {key: ["n", *x.shape[1:]] for key, x in inputs.items()} == {
            key: one["shape"] for key, one in told["inputs"].items()
        }
        found = loaded(inputs)
        assert found.shape == (n, *SHAPE)
        assert torch.allclose(found, program(inputs), rtol=0, atol=CLOSE)
        assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("key", ["vae, conv", "gan"])
def test_a_program_draws_what_the_bundle_draws_of_the_same_noise(key):
    made = adapted(FAMILIES[key], inverted=True)
    (one, _), family = made.parts[0], FAMILIES[key]
    noise = family.draw({"x": torch.zeros(6, *SHAPE)}, Stream(3).at("sample", 0))
    with torch.no_grad():
        found = Program(made)({"z": noise["z"]})
        wanted = 1 - (family.generate(one.nets, {}, noise)["x"].clamp(-1, 1) + 1) / 2
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(made.sample(6, seed=3), wanted, atol=1e-6)


@pytest.mark.parametrize("key", ["vae, conv", "vaegan", "aae", "setvae"])
def test_what_onnx_runs_draws_the_same_images_of_any_number(key, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs metasearch[onnx]")
    pytest.importorskip("onnxscript", reason="needs metasearch[onnx]")
    made = adapted(FAMILIES[key])
    told = write_program(made, tmp_path / "generator.onnx")
    assert told["difference"] <= CLOSE
    session = runtime.InferenceSession(
        tmp_path / "generator.onnx", providers=["CPUExecutionProvider"]
    )
    said = json.loads(session.get_modelmeta().custom_metadata_map["about"])
    assert said == {key: told[key] for key in ("inputs", "output")}
    program = Program(made)
    for n in (1, 7):
        inputs = program.inputs(n)
        (found,) = session.run(["images"], {key: x.numpy() for key, x in inputs.items()})
        assert np.abs(found - program(inputs).numpy()).max() <= CLOSE


def test_it_says_how_its_noise_is_drawn():
    told = about(Program(adapted(FAMILIES["cgan"])))["inputs"]
    assert told["z"]["drawn"] == "standard normal"
    assert told["slot"] == {"shape": ["n"], "drawn": "whole numbers from 0 to 2"}
    told = about(Program(adapted(FAMILIES["classical"])))["inputs"]
    assert told["u"]["drawn"] == "uniform in [0, 1)"
    told = about(Program(adapted(FAMILIES["cyclegan"])))["inputs"]
    assert told == {"a": {"shape": ["n", *SHAPE], "drawn": "images"}}


def test_another_ending_and_a_mixture_are_refused_with_what_to_do(tmp_path):
    one = adapted(FAMILIES["gan"])
    with pytest.raises(ConfigError, match=r"\.pt2 or \.onnx"):
        one.write_program(tmp_path / "generator.pth")
    with pytest.raises(DataError, match="--ensemble none"):
        adapted(FAMILIES["gan"], parts=2).write_program(tmp_path / "generator.pt2")
    assert not list(tmp_path.iterdir())


def test_a_program_that_draws_otherwise_is_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr("metasearch.bundle.program.CLOSE", -1.0)
    with pytest.raises(EnvironmentFault, match=r"differ by .* from the model"):
        write_program(adapted(FAMILIES["gan"]), tmp_path / "generator.pt2")
    assert not (tmp_path / "generator.pt2").exists()


def test_a_family_that_cannot_be_traced_is_refused_in_one_line(tmp_path):
    class Looks(VAE):
        def generate(self, nets, given, noise):
            return {"x": noise["z"].reshape(-1)[: int(noise["z"].sum())]}

    with pytest.raises(DataError, match="cannot be written as a program") as told:
        write_program(adapted(Looks(latent=3, net=SMALL)), tmp_path / "generator.pt2")
    assert "\n" not in str(told.value)


def test_a_family_that_draws_pixel_by_pixel_is_refused_in_one_line_before_it_is_traced(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.export, "export", None)
    with pytest.raises(
        DataError, match=r"'autoregressive' draws an image in .* operations"
    ) as told:
        write_program(adapted(Autoregressive(width=4)), tmp_path / "generator.pt2")
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_of_onnx_is_named_with_what_to_install(tmp_path, monkeypatch):
    def absent(*_, **__):
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", absent)
    with pytest.raises(EnvironmentFault, match=r"pip install 'metasearch\[onnx\]'"):
        write_program(adapted(FAMILIES["gan"]), Path(tmp_path) / "generator.onnx")
