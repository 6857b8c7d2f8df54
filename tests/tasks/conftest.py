from __future__ import annotations

import pytest
import torch

from metasearch.tasks import Glyphs, ImageTasks


@pytest.fixture(scope="session", autouse=True)
def _a_cache_of_our_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def glyphs(_a_cache_of_our_own) -> ImageTasks:
    return Glyphs().open()
