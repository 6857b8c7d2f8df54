"""Frozen features: learned on train tasks alone, a function of source and seed, and kept whole."""

from __future__ import annotations

import pytest
import torch

from metasearch.errors import DataError
from metasearch.models.base import noise_per_task
from metasearch.rng import Stream
from metasearch.scores import features as module
from metasearch.scores.base import Subject, anchor_score
from metasearch.scores.features import (
    ConvFeatures,
    build_trunk,
    cached_features,
    learn_features,
    pixel_features,
    random_features,
)
from metasearch.scores.jsd import JSD
from metasearch.scores.mmd import MMD
from tests.scores.fakes import Factor, Fitted, Handwriting, Strokes, true_means


@pytest.fixture(scope="module")
def source():
    return Strokes()


@pytest.fixture(scope="module")
def learned(source):
    return learn_features(source, steps=80)


@pytest.fixture(params=["prototypes", "random", "pixels"])
def any_kind(request, source, learned):
    made = {"random": random_features, "pixels": pixel_features}
    return made[request.param](source) if request.param in made else learned


def accuracy(source, features, rounds=6):
    """Of naming the class of unseen tasks' images by the nearest prototype, one shot, 20 ways."""
    names, hits = source.tasks("search")[:20], []
    for k in range(rounds):
        episodes = source.episodes(names, shot=1, query=5, rng=Stream(6).at(k))
        prototypes, query = (features(b["x"]) for b in (episodes.support, episodes.query))
        found = torch.cdist(query, prototypes).argmin(1)
        hits.append((found == torch.arange(20).repeat_interleave(5)).double().mean())
    return float(torch.stack(hits).mean())


def judged(source, features, images=None, *, anchor=10):
    names = source.tasks("search")
    episodes = source.episodes(names, shot=5, query=8, anchor=anchor, rng=Stream(7))
    fitted = Fitted(None, true_means(len(names)))
    noise = noise_per_task(Factor(), Stream(3), names)
    found = Subject(fitted, episodes, noise, features, 10)
    return found.posing({"x": images(episodes.anchor["x"])}) if images else found


def blurred(x):
    pad = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1)
    return torch.nn.functional.avg_pool2d(pad, 3, 1)


def of_other_tasks(share):
    def mix(x):
        each = x.unflatten(0, (-1, 10)).clone()
        k = round(10 * share)
        each[:, :k] = each.roll(1, 0)[:, :k]
        return each.flatten(0, 1)

    return mix


CORRUPTIONS = {
    "contrast": [lambda x, k=k: (x + 1) * k - 1 for k in (1.0, 0.8, 0.6, 0.3)],
    "blur": [lambda x: x, blurred, lambda x: blurred(blurred(blurred(x)))],
    "speckle": [
        lambda x, k=k: torch.where(torch.rand(x.shape, generator=Stream(9).torch()) < k, -x, x)
        for k in (0.0, 0.03, 0.1, 0.3)
    ],
    "other tasks": [of_other_tasks(share) for share in (0, 0.3, 0.6, 1.0)],
}


@pytest.mark.parametrize("score", [MMD(), JSD()], ids=lambda s: s.name)
@pytest.mark.parametrize("steps", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_scores_worsen_step_by_step_with_corruption(source, learned, score, steps):
    found = [float(score(judged(source, learned, step)).mean()) for step in steps]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.1 * abs(found[-1])


@pytest.mark.parametrize("score", [MMD(), JSD()], ids=lambda s: s.name)
def test_real_images_score_zero_within_noise(source, learned, score):
    values = anchor_score(score, judged(source, learned))
    wrong = score(judged(source, learned, of_other_tasks(1.0)))
    error = float(values.std()) / len(values) ** 0.5
    assert abs(float(values.mean())) < max(3 * error, 0.1 * float(wrong.mean()))


def test_learning_tells_unseen_tasks_apart_better_than_pixels_and_chance(source, learned):
    found, floor = accuracy(source, learned), accuracy(source, random_features(source))
    assert found > floor + 0.1 and found > 0.5


def test_only_train_tasks_are_looked_at():
    fresh = Strokes()
    learn_features(fresh, steps=2)
    random_features(fresh)
    pixel_features(fresh)
    assert set(fresh.asked) == {"train"}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_features_are_a_function_of_source_and_seed_and_of_no_global_state(two_threads):
    before = torch.get_rng_state()
    one, two, other = (learn_features(Strokes(), seed, steps=3) for seed in (4, 4, 5))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    images = Strokes().images("search/00")["x"]
    assert torch.equal(one(images), two(images))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == two_threads


def test_over_train_images_they_have_mean_zero_and_squared_norm_one(source, any_kind):
    episodes = source.episodes(source.tasks("train"), shot=5, query=0, rng=Stream(12))
    z = any_kind(episodes.support["x"])
    assert float(z.mean(0).norm()) < 0.15
    assert float(z.square().sum(1).mean()) == pytest.approx(1, abs=0.15)
    each = z.unflatten(0, (-1, 5))
    pairs = torch.ones(5, 5).triu(1).bool()
    assert float(torch.cdist(each, each)[:, pairs].median()) == pytest.approx(
        any_kind.scale, rel=0.15
    )


def test_an_image_has_the_same_features_in_any_company_and_needs_no_gradient(source, any_kind):
    images = source.images("search/01")["x"].requires_grad_()
    together, alone = any_kind(images), any_kind(images[3:4])
    torch.testing.assert_close(together[3:4], alone, rtol=1e-4, atol=1e-5)
    assert not together.requires_grad


def test_images_of_another_shape_are_refused_in_words(learned):
    with pytest.raises(DataError, match=r"shape \(1, 16, 16\), got \(1, 8, 8\)"):
        learned(torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28, 32, 64])
def test_every_usual_size_has_a_net_of_64_numbers(size, channels):
    images = torch.zeros(2, channels, size, size)
    assert build_trunk("random", (channels, size, size))(images).shape == (2, 64)


def test_colour_images_can_be_learned_from():
    found = learn_features(Strokes(size=32, channels=3), steps=2)
    assert found.shape == (3, 32, 32) and found.scale > 0


def test_a_source_of_one_train_task_is_refused_in_words():
    class Lone(Strokes):
        def tasks(self, split):
            return super().tasks(split)[:1]

    with pytest.raises(DataError, match="1 train tasks; it takes at least 2"):
        learn_features(Lone(), steps=1)


def test_saving_and_loading_changes_nothing(any_kind, source, tmp_path):
    any_kind.save(tmp_path / "f.safetensors")
    back = ConvFeatures.load(tmp_path / "f.safetensors")
    images = source.images("search/02")["x"]
    assert torch.equal(back(images), any_kind(images))
    same = ("fingerprint", "scale", "spread", "shape", "kind", "data")
    assert all(getattr(back, name) == getattr(any_kind, name) for name in same)


def test_a_damaged_or_foreign_file_is_refused_in_words(learned, tmp_path):
    path = tmp_path / "f.safetensors"
    learned.save(path)
    whole = path.read_bytes()
    torn = {
        "flipped": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "short": whole[: len(whole) // 2],
        "text": b"not weights at all",
        "kind": whole.replace(b'"prototypes"', b'"prototypos"'),
        "shape": whole.replace(b'"[1, 16, 16]"', b'"[3, 16, 16]"'),
    }
    for name, data in torn.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"f\.safetensors: no features can be read"):
            ConvFeatures.load(path)
        assert data != whole, name
    with pytest.raises(DataError, match=r"gone\.safetensors"):
        ConvFeatures.load(tmp_path / "gone.safetensors")


@pytest.fixture
def counted(monkeypatch):
    """How often `cached_features` learns; learning itself is cut short."""
    calls = []

    def short(source, seed=0):
        calls.append(seed)
        return learn_features(source, seed, steps=2)

    monkeypatch.setattr(module, "learn_features", short)
    return calls


def test_features_are_learned_once_and_then_found(counted, monkeypatch, tmp_path):
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path))
    one, two = cached_features(Strokes()), cached_features(Strokes())
    assert one.fingerprint == two.fingerprint and counted == [0]
    assert one.data == two.data == Strokes().fingerprint
    cached_features(Strokes(), seed=1)
    cached_features(Strokes(seed=1))
    assert counted == [0, 1, 0]


def test_a_cache_that_cannot_be_written_costs_time_only(counted, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / "file" / "below"))
    assert cached_features(Strokes()).fingerprint == cached_features(Strokes()).fingerprint
    assert counted == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_on_real_handwriting_unseen_alphabets_are_told_apart_far_better_than_by_pixels():
    source = Handwriting.open()
    learned = learn_features(source, steps=100)
    assert accuracy(source, learned) > accuracy(source, pixel_features(source)) + 0.15
    anchor = anchor_score(MMD(), judged(source, learned, anchor=7))
    assert abs(float(anchor.mean())) < 3 * float(anchor.std()) / len(anchor) ** 0.5
