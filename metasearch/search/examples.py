"""A few images of an unseen task, so that a bundle can be tried at once."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from metasearch.bundle.adapted import save_images
from metasearch.rng import Stream
from metasearch.search.ledger import Run
from metasearch.tasks.base import TaskDistribution, image_domains
from metasearch.trial.config import TrialConfig, from_data
from metasearch.trial.loop import bench_for


def examples_of(run: Run, trial: int) -> Path:
    """A folder with the examples of the data that a trial was searched on."""
    (record,) = [record for record in run.trials if record.number == trial]
    config = from_data(record.info.config)
    return write_examples(bench_for(config).data, config, run.folder / "examples")


def write_examples(data: TaskDistribution, config: TrialConfig, folder: Path) -> Path:
    """The support of one `test` task as PNG files, by class or domain if there are several.

    What is there already stays. Ink is light in a task, and dark on paper; colours are kept.
    """
    if folder.is_dir():
        return folder
    source = config.tasks
    episode = data.episodes(
        data.tasks("test")[:1], shot=source.shot, query=source.query, rng=Stream(0).at("examples")
    )
    domains = image_domains(episode.support)
    if len(domains) == 2:  # as CycleGAN's data sets are laid out
        parts = {f"train{d.upper()}": episode.support[d] for d in domains}
        for name, part in (parts | {"testA": episode.query[domains[0]]}).items():
            save_images(_on_paper(part), folder / name)
        return folder
    images = _on_paper(episode.support[domains[0]])
    labels = episode.support.get("y")
    if labels is None:
        save_images(images, folder)
        return folder
    for label in sorted(set(labels.tolist())):
        name = "unlabelled" if label < 0 else f"class-{label}"
        save_images(images[labels == label], folder / name)
    return folder


def _on_paper(images: Tensor) -> Tensor:
    """[n, c, h, w] in [0, 1], with dark ink if there is no colour."""
    light = (images.clamp(-1, 1) + 1) / 2
    return 1 - light if images.shape[1] == 1 else light
