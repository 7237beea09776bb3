"""A server, and caches of its own for each test."""

import pytest
import torch

from tests.weights.server import Server


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A running server, which is also the Hub; both caches are empty."""
    from huggingface_hub import constants

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'torch'))
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    with Server() as running:
        monkeypatch.setattr(constants, 'ENDPOINT', running.url)
        template = running.url + '/{repo_id}/resolve/{revision}/{filename}'
        monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
        monkeypatch.setattr(
            'huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE',
            template,
            raising=False,
        )
        yield running
        running.shutdown()
