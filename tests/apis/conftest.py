"""Fixtures: weights of the tiny model, and a folder with a broken image."""

from pathlib import Path

import cv2
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_model import COLOURS, WORDS, make_image, tiny_config


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory) -> Path:
    """Weights of the tiny model, as a training run on WORDS would leave them."""
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = MODELS.build(tiny_config().model)
    with torch.no_grad():  # random weights as they are tell the words hardly apart
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    path = tmp_path_factory.mktemp('tiny') / 'tiny.pth'
    meta = dict(dataset_meta=dict(classes=WORDS, palette=COLOURS))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images of different sizes, one of them unreadable, and a text."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    cv2.imwrite(str(folder / 'a.png'), make_image())
    content = cv2.imencode('.png', make_image(seed=1))[1].tobytes()
    (folder / 'b.png').write_bytes(content[: len(content) // 2])
    cv2.imwrite(str(folder / 'c.jpg'), make_image(24, 33, seed=2))
    (folder / 'notes.txt').write_text('no image')
    (folder / '._a.png').write_bytes(b'a file manager leaves these')
    return folder
