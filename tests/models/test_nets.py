"""The nets that families are built from: what each setting changes, and which sizes suit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metasearch.errors import ConfigError
from metasearch.models.base import Learner
from metasearch.models.code import Code
from metasearch.models.nets import Attention, Conv, Mlp, Shortcut, normalise
from metasearch.models.translators import Resnet
from metasearch.models.vae import VAE
from metasearch.rng import Stream, global_torch_draws_from

SHAPES = [(1, 16, 16), (3, 28, 28), (3, 32, 32), (1, 64, 64)]


def images(*shape):
    return torch.rand(*shape, generator=Stream(0).at(*shape).torch()) * 2 - 1


@pytest.fixture(autouse=True)
def same_weights():
    with global_torch_draws_from(Stream(7)):
        yield


def weights(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("smallest", [4, 8, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_go_to_vectors_and_back(shape, smallest):
    net = Conv(width=4, depth=1, smallest=smallest, attention=True, norm="layer")
    if shape[1] == smallest:
        with pytest.raises(ConfigError, match="at most 16"):
            net.encoder(shape, 5)
        return
    code = net.encoder(shape, 5)(images(2, *shape))
    assert code.shape == (2, 5)
    for upsample in ("transposed", "nearest"):
        decoder = Conv(width=4, smallest=smallest, upsample=upsample).decoder(5, shape)
        assert decoder(code).shape == (2, *shape)


@pytest.mark.parametrize(
    ("side", "smallest", "ends"), [(16, 8, 8), (16, 4, 4), (28, 4, 7), (32, 8, 8), (64, 4, 4)]
)
def test_halving_ends_where_it_is_said_to(side, smallest, ends):
    (linear,) = [
        m for m in Conv(smallest=smallest).encoder((1, side, side), 1) if isinstance(m, nn.Linear)
    ]
    halvings = (side // ends).bit_length() - 1
    assert linear.in_features == 16 * 2 ** (halvings - 1) * ends**2


@pytest.mark.parametrize("side", [30, 29, 6])
def test_a_size_that_cannot_be_halved_is_refused_with_what_would_do(side):
    with pytest.raises(ConfigError, match="16, 28, 32 or 64"):
        Conv().encoder((1, side, side), 4)


def test_every_setting_of_structure_changes_the_net():
    base = Conv(width=8)
    shape = (1, 16, 16)
    sizes = {weights(base.decoder(3, shape))}
    for change in ({"width": 9}, {"depth": 1}, {"depth": 2}, {"smallest": 4}, {"norm": "none"},
                   {"attention": True}, {"upsample": "nearest"}, {"activation": "prelu"}):  # fmt: skip
        sizes.add(weights(Conv(**{"width": 8, **change}).decoder(3, shape)))
    assert len(sizes) == 9
    assert len({weights(Mlp(hidden=8, depth=d).encoder(shape, 1)) for d in (0, 1, 2)}) == 3


@pytest.mark.parametrize("norm", ["group", "layer", "instance"])
def test_norms_see_one_image_at_a_time(norm):
    x = images(3, 16, 5, 5)
    layer = normalise(norm, 16)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))
    over = {"layer": (1, 2, 3), "instance": (2, 3)}.get(norm)
    if over:
        assert layer(x).mean(over).abs().max() < 1e-5
        assert (layer(x).std(over, correction=0) - 1).abs().max() < 1e-2


def test_attention_starts_as_the_identity_and_is_blind_to_the_order_of_places():
    layer = Attention(8)
    x = images(2, 8, 4, 4)
    assert torch.equal(layer(x), x)
    for p in layer.parameters():
        p.data = torch.randn(p.shape, generator=Stream(0).at(*p.shape).torch())
    order = torch.randperm(16, generator=Stream(1).torch())
    mixed = x.flatten(2)[:, :, order].unflatten(2, (4, 4))
    want = layer(x).flatten(2)[:, :, order].unflatten(2, (4, 4))
    torch.testing.assert_close(layer(mixed), want)


def test_attention_is_the_papers_sum_over_places():
    layer = Attention(4)
    for p in layer.parameters():
        p.data = torch.randn(p.shape, generator=Stream(0).at(*p.shape).torch())
    x = images(1, 4, 2, 2)
    q, k, v = (net(x).flatten(2)[0] for net in (layer.query, layer.key, layer.value))
    seen = []
    for j in range(4):
        score = torch.exp(torch.stack([(q[:, j] * k[:, i]).sum() for i in range(4)]))
        share = score / score.sum()
        seen.append(sum(share[i] * v[:, i] for i in range(4)))
    found = layer.out(torch.stack(seen, 1).reshape(1, 1, 2, 2))
    torch.testing.assert_close(layer(x), x + found)


def test_a_shortcut_adds_what_it_was_given():
    x = images(2, 3, 4, 4)
    torch.testing.assert_close(Shortcut(nn.Identity(), nn.Identity())(x), 2 * x)


@pytest.mark.parametrize("activation", ["silu", "relu", "leaky_relu", "gelu", "prelu"])
def test_every_activation_bends(activation):
    for net in (Conv(width=4, activation=activation), Mlp(hidden=8, activation=activation)):
        encoder = net.encoder((1, 16, 16), 2)
        a, b = images(1, 1, 16, 16), -images(1, 1, 16, 16)
        line = (encoder(a) + encoder(b)) / 2
        assert not torch.allclose(encoder((a + b) / 2), line, atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "setting"),
    [(Conv, {"depth": 2**31}), (Mlp, {"depth": 101}), (Resnet, {"halvings": 2**31})],
)
def test_no_file_may_ask_for_more_layers_than_can_be_built(cls, setting):
    with pytest.raises(ValueError, match=r"must be at most \d+, got"):
        cls(**setting)


@pytest.mark.parametrize("net", [Mlp(hidden=8, code=3), Conv(width=4, code=3)], ids=["mlp", "conv"])
def test_a_code_is_heard_with_every_vector_and_is_all_that_adapts_code_moves(net):
    learner = Learner.create(VAE(latent=5, net=net), (1, 16, 16), Stream(1))
    assert learner.adapting("code") == {"decoder.0.value"}
    decoder, z = learner.nets["decoder"], torch.randn(4, 5)
    (code,) = (m for m in decoder.modules() if isinstance(m, Code))
    assert torch.equal(code(z), torch.cat([z, torch.zeros(4, 3)], 1))
    before = decoder(z)
    with torch.no_grad():
        code.value += 1.0
    moved = (decoder(z) - before).flatten(1).abs().amax(1)
    assert (moved > 1e-3).all()


def test_without_a_code_nothing_is_added_and_code_is_no_part_to_adapt():
    learner = Learner.create(VAE(latent=5, net=Mlp(hidden=8)), (1, 16, 16), Stream(1))
    assert not any(isinstance(m, Code) for net in learner.nets.values() for m in net.modules())
    with pytest.raises(ConfigError, match=r"code \(where a net has `code`\)"):
        learner.adapting("code")
