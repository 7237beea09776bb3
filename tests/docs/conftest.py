"""The folder in which the blocks of a page are run."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_ovs.datasets.shapes import write_shapes
from tests.tool_loader import ROOT, run_tool

TINY_MODEL = """
_base_ = 'configs/text_similarity/text-similarity_mit-tiny_shapes-112x112.py'
quick = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=4, **quick)
val_dataloader = test_dataloader = quick
train_cfg = dict(max_iters=2, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2))
"""

# The smallest recipe with published weights, without them: appended to its config.
TINY_RECIPE = """
quick = dict(num_workers=0, persistent_workers=False)
train_dataloader = val_dataloader = test_dataloader = quick
model['backbone'].update(
    arch=dict(embed_dims=24, depth=2, num_heads=2, feed_forward='mlp'), init_cfg=None
)
text_cfg = dict(context_length=16, width=16, heads=2, layers=1)
model['text_encoder'].update(
    model=dict(embed_dim=24, text_cfg=text_cfg), pretrained=None, cache_dir=None
)
model['decode_head'].update(in_channels=24, text_channels=24, channels=16)
train_cfg.update(max_iters=2, val_interval=2)
default_hooks['checkpoint'].update(interval=2, filename_tmpl='iter_2000.pth')
"""


@pytest.fixture(scope='session')
def model_folder(tmp_path_factory) -> Path:
    """A tiny shapes set, a model of two training steps on it, and the configs."""
    folder = tmp_path_factory.mktemp('model')
    write_shapes(folder / 'data' / 'shapes', seed=0, sizes=(8, 2, 4), workers=1)
    ignore = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / 'configs', folder / 'configs', ignore=ignore)
    recipe = folder / 'configs/text_similarity/text-similarity_dinov2-s14_camvid.py'
    recipe.write_text(recipe.read_text() + TINY_RECIPE)
    (folder / 'shapes.py').write_text(TINY_MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_tool('tools/train.py', 'shapes.py', '--work-dir', 'work')
    return folder


@pytest.fixture
def workspace(tmp_path, monkeypatch, model_folder) -> Path:
    """The current folder: what the pages take for granted, under their names."""
    for part in ('configs', 'shapes.py', 'data/shapes'):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).symlink_to(model_folder / part)
    for name in ('shapes.pth', 'checkpoint.pth', 'demo_out/work/iter_2000.pth'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(model_folder / 'work' / 'iter_2.pth')
    (tmp_path / 'my_classes.txt').write_text('tree\nroad, street\n')
    write_photos(tmp_path)
    write_farm(tmp_path / 'data' / 'farm')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks_of_colour(size: tuple[int, int], seed: int) -> np.ndarray:
    """An image, uint8 BGR (height, width, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST)


def write_photos(folder: Path) -> None:
    """Images and a video."""
    (folder / 'photos').mkdir()
    for seed, name in enumerate(('a.jpg', 'photo.png', 'photos/1.jpg', 'photos/2.png')):
        cv2.imwrite(str(folder / name), blocks_of_colour((120, 160), seed))
    fourcc = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(str(folder / 'clip.mp4'), fourcc, 5, (96, 64))
    for seed in range(6):
        writer.write(blocks_of_colour((64, 96), seed))
    writer.release()


def write_farm(folder: Path) -> None:
    """Images, and masks painted in three colours (docs/own_data.md)."""
    colours = np.array([(120, 85, 50), (70, 160, 70), (220, 70, 60)], np.uint8)
    for split, count in dict(train=4, val=1).items():
        for i in range(count):
            image = blocks_of_colour((96, 128), i)
            labels = image[..., 0] // 86
            for kind, pixels in dict(
                images=image, masks=colours[labels][..., ::-1]
            ).items():
                path = folder / kind / split / f'{i:04d}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
