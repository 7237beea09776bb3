"""A result by itself: what it shows, and what other libraries get of it."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import COLOURS, WORDS, make_image, tiny_config

from mmseg_ovs.apis import ImageError, OpenVocabInferencer
from mmseg_ovs.engine.data_colours import data_colours
from mmseg_ovs.utils import ArgumentError, OpenVocabError
from mmseg_ovs.visualization import make_palette
from mmseg_ovs.visualization.overlay import draw_overlay


@pytest.fixture(scope='module')
def inferencer(checkpoint):
    return OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')


@pytest.fixture(scope='module')
def result(inferencer):
    """With a background and two classes."""
    scores = inferencer(make_image(), ['tree', 'road'], keep_scores=True).scores
    level = float(np.median(scores.max(0)))
    found = inferencer(
        make_image(), ['tree', 'road'], background_score=level, keep_scores=True
    )
    assert len(np.unique(found.labels)) == 3
    return found


def test_one_image_gives_one_result(inferencer, folder):
    one = inferencer(folder / 'a.png', ['cat', 'sofa'])
    assert one.names == ('cat', 'sofa') and one.labels.shape == (40, 56)
    results = inferencer([folder / 'a.png'], ['cat', 'sofa'])
    assert len(results) == 1 and np.array_equal(results[0].labels, one.labels)
    for image in (Image.open(folder / 'a.png'), make_image(), make_image() / 255):
        assert np.array_equal(inferencer(image, ['cat', 'sofa']).labels, one.labels)


def test_one_word_is_a_class(inferencer):
    assert inferencer(make_image(), 'sky').names == ('sky',)


def test_the_device(inferencer):
    assert inferencer.device == torch.device('cpu')
    assert inferencer.to('cpu') is inferencer
    with pytest.raises(ArgumentError, match='not one of PyTorch'):
        inferencer.to('gpu')


def test_it_says_what_is_in_the_image(result):
    assert sum(result.shares.values()) == pytest.approx(1)
    (first, share), *_ = result.shares.items()
    label = result.names.index(first)
    assert share == (result.labels == label).mean() == max(result.shares.values())
    assert repr(result).startswith(f'<Prediction of array 0: 56 x 40, {first} ')


def test_it_is_drawn(result):
    overlay = np.asarray(result.plot(opacity=1, names=False))
    nothing = result.labels == result.vocabulary.background_class
    inner = np.zeros_like(nothing)  # borders are darker
    inner[1:, 1:] = (result.labels[1:, 1:] == result.labels[:-1, 1:]) & (
        result.labels[1:, 1:] == result.labels[1:, :-1]
    )
    rgb = make_image()[..., ::-1]
    assert np.array_equal(overlay[nothing & inner], rgb[nothing & inner])
    drawn = ~nothing & inner
    assert np.array_equal(overlay[drawn], result.palette[result.labels][drawn])
    shown = Image.open(io.BytesIO(result._repr_png_()))
    assert np.array_equal(np.asarray(shown), np.asarray(result.sheet()))


def test_it_is_saved(result, tmp_path):
    result.save(tmp_path / 'new' / 'a.png')
    saved = Image.open(tmp_path / 'new' / 'a.png')
    assert np.array_equal(np.array(saved), result.labels)
    shown = np.array(saved.convert('RGB'))
    assert np.array_equal(shown, result.palette[result.labels])
    with pytest.raises(ImageError, match=r'a.jpg: label maps are PNG.*plot\(\).save'):
        result.save('a.jpg')


def test_supervision(result):
    supervision = pytest.importorskip('supervision')
    found = result.to_supervision()
    assert found.class_id.tolist() == [1, 2]  # without the background
    assert found['class_name'].tolist() == ['tree', 'road']
    for label, mask, score in zip(
        found.class_id, found.mask, found.confidence, strict=True
    ):
        assert np.array_equal(mask, result.labels == label)
        assert score == pytest.approx(result.scores[label][mask].mean())
    drawn = supervision.MaskAnnotator().annotate(result.image.copy(), found)
    assert (drawn != result.image).any()


def test_supervision_of_nothing(inferencer):
    pytest.importorskip('supervision')
    assert (
        len(inferencer(make_image(), 'tree', background_score=1e6).to_supervision())
        == 0
    )


def test_shapely(result):
    shapely = pytest.importorskip('shapely')
    found = result.to_polygons()
    assert list(found) == ['tree', 'road']
    y, x = np.mgrid[:40, :56] + 0.5
    for name, region in found.items():
        mask = result.labels == result.names.index(name)
        assert region.is_valid and region.area == mask.sum()
        assert np.array_equal(shapely.contains_xy(region, x, y), mask)


def test_a_missing_library_is_named(result, monkeypatch):
    import sys

    for module, use in (
        ('supervision', result.to_supervision),
        ('shapely', result.to_polygons),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(
            OpenVocabError, match=rf"{module}.*pip install 'mmseg_ovs\["
        ):
            use()


def test_coco_is_plain_json(result):
    text = json.dumps(result.to_coco())
    assert [c['name'] for c in json.loads(text)['categories']] == ['tree', 'road']


# ---------------------------------------------------------------------- colours
def test_a_class_keeps_its_colour(inferencer):
    def colours(words, **options):
        (found,) = inferencer.predict(make_image(), words, **options)
        return dict(zip(found.names, found.palette.tolist(), strict=True))

    tree = colours(['tree', 'road'])['tree']
    assert colours(['sky', 'tree'], background_score=0.5)['tree'] == tree
    assert [tree] == make_palette(['tree'])
    # Those of the training data are the data's own.
    assert colours(None) == dict(zip(WORDS, COLOURS, strict=True))
    assert colours(['sand', 'tree']) == dict(sand=COLOURS[2], tree=tree)


def test_the_colours_of_a_data_set():
    cfg = tiny_config()
    assert data_colours(cfg) == {}
    data = cfg.test_dataloader.dataset
    data.metainfo = dict(classes=('a', 'b'), palette=[[1, 2, 3], [4, 5, 6]])
    assert data_colours(cfg) == dict(a=[1, 2, 3], b=[4, 5, 6])
    data.type = 'CityscapesDataset'
    del data['metainfo']
    assert data_colours(cfg)['road'] == [128, 64, 128]
    words = [f'word {i}' for i in range(19)]
    cfg.default_hooks = dict(vocabulary=dict(vocabulary=words))
    assert data_colours(cfg)['word 0'] == [128, 64, 128]
    inferencer = OpenVocabInferencer(cfg, device='cpu', allow_random=True)
    assert inferencer.colours['word 0'] == [128, 64, 128]


@pytest.mark.parametrize('opacity', [-0.1, 5, float('nan')])
def test_an_opacity_beyond_0_to_1(opacity):
    image = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(OpenVocabError, match='opacity has to be in 0..1'):
        draw_overlay(image, image[..., 0], image[0], opacity)
