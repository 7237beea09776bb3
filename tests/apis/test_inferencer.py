"""The inferencer: words at each call, any images, failures on their own."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_model import WORDS, make_image, tiny_config

from mmseg_ovs.apis import (
    ImageError,
    OpenVocabInferencer,
    UnknownConfigError,
    find_config,
    list_images,
)
from mmseg_ovs.models.text_encoders.embedding_file import save_embeddings
from mmseg_ovs.models.utils import CheckpointError
from mmseg_ovs.structures import Vocabulary, VocabularyError
from mmseg_ovs.utils import OpenVocabError


@pytest.fixture(scope='module')
def inferencer(checkpoint):
    return OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')


def scores(inferencer, image, classes):
    """Class scores (N, H, W) of an image."""
    return inferencer(image, classes, keep_scores=True).scores


# ------------------------------------------------------------------------- words
def test_words_change_between_calls_on_one_model(inferencer):
    image, model = make_image(), inferencer.model
    two = scores(inferencer, image, ['tree', 'road'])
    one = scores(inferencer, image, ['a pikachu'])
    turned = scores(inferencer, image, ['road', 'tree', 'a pikachu'])
    assert inferencer.model is model
    assert (len(two), len(one), len(turned)) == (2, 1, 3)
    # The score of a word does not depend on the others, nor on their order.
    expected = np.concatenate([two[::-1], one])
    np.testing.assert_allclose(turned, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(two[0], two[1])


def test_without_words_those_of_the_training_data(inferencer):
    for words in (None, ['tree'], None):  # a call leaves nothing for the next
        (prediction,) = inferencer.predict(make_image(), words)
        assert prediction.vocabulary.classes == tuple(words or WORDS)


def test_without_any_words_says_what_to_do():
    with pytest.raises(VocabularyError, match='Say what to look for'):
        OpenVocabInferencer(tiny_config(), device='cpu', allow_random=True)(
            make_image()
        )


def test_named_vocabularies_files_and_background(inferencer, tmp_path):
    name = Vocabulary.named()[0]
    assert inferencer.read_vocabulary(name) == Vocabulary.build(name)
    path = tmp_path / 'words.txt'
    path.write_text('tree, bush\nroad\n')
    (nothing,) = inferencer.predict(make_image(), str(path), background_score=1e6)
    assert nothing.vocabulary.classes == ('background', 'tree, bush', 'road')
    assert (nothing.labels == 0).all()
    (everything,) = inferencer.predict(make_image(), str(path), background_score=-1e6)
    assert (everything.labels > 0).all()


@pytest.mark.parametrize(
    'classes',
    [
        [['tree', 'bush'], 'road'],
        ['tree, bush', 'road'],
        dict(classes=['tree', 'road'], synonyms=[['tree', 'bush'], ['road']]),
        Vocabulary(('tree', 'road'), (('tree', 'bush'), ('road',))),
    ],
)
def test_synonyms_count_for_their_class(inferencer, classes):
    apart = scores(inferencer, make_image(), ['tree', 'bush', 'road'])
    together = scores(inferencer, make_image(), classes)
    expected = np.stack([apart[:2].max(0), apart[2]])
    np.testing.assert_allclose(together, expected, rtol=1e-5, atol=1e-6)
    first = dict(source=classes, synonyms='first')
    np.testing.assert_allclose(
        scores(inferencer, make_image(), first), apart[[0, 2]], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ([], 'empty'),
        (['tree', 'tree'], 'twice'),
        (['tree', 3], 'must be a string'),
        (['tree', ' '], 'blank'),
        ('cityscapes', "Did you mean 'cityscapes_19'"),
        ('nowhere.txt', 'Cannot read the vocabulary nowhere.txt'),
        ({'tree': ['bush']}, "Unknown key 'tree'"),
    ],
)
def test_unusable_words(inferencer, classes, message):
    with pytest.raises(VocabularyError, match=message):
        inferencer(make_image(), classes=classes)


def test_a_rule_and_a_score_for_the_background(inferencer):
    rule = dict(type='threshold', value=0.3)
    by_rule, by_score = (
        inferencer.read_vocabulary(WORDS, **option)
        for option in (dict(background=rule), dict(background_score=0.3))
    )
    assert by_rule == by_score and by_rule.background_score == 0.3
    with pytest.raises(VocabularyError, match='not both'):
        inferencer.read_vocabulary(WORDS, rule, 0.3)


@pytest.mark.parametrize(
    ('classes', 'advice'),
    [
        (['soil,crop'], 'Commas do not separate classes'),
        (['天空，道路，汽车'], 'Commas do not separate classes'),
        (['tree'], 'Give more classes, or a background score'),
        (['tree', 'road'], None),
    ],
)
def test_one_class_is_said_once(checkpoint, tmp_path, warned, classes, advice):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    path = tmp_path / 'words.txt'
    path.write_text('\n'.join(classes), encoding='utf-8')
    inferencer(make_image(), classes, background_score=0.5)
    assert not warned
    for same in (classes, str(path)):
        inferencer(make_image(), same)
    assert len(warned) == (advice is not None)
    if advice:
        assert warned[0].startswith(f'One class: every pixel gets it. {advice}')


def test_vectors_of_templates_that_the_head_cannot_compare(tmp_path):
    cfg = tiny_config()
    width = cfg.model.decode_head.text_channels
    path = tmp_path / 'vectors.safetensors'
    save_embeddings(path, WORDS, torch.randn(len(WORDS), 2, width))
    cfg.model.text_encoder = dict(type='PrecomputedTextEncoder', path=str(path))
    inferencer = OpenVocabInferencer(cfg, device='cpu', allow_random=True)
    with pytest.raises(OpenVocabError, match='gives 2 for each: .*mean'):
        inferencer.predict(make_image(), WORDS)


def test_two_predictions_in_turn_keep_their_own_words(inferencer):
    images = [make_image(seed=s) for s in range(3)]
    alone = [
        [p.labels for p in inferencer.predict(images, words)]
        for words in (['tree', 'road'], ['sand', 'disc', 'sky'])
    ]
    first = inferencer.predict(images, ['tree', 'road'])
    second = inferencer.predict(images, ['sand', 'disc', 'sky'])
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        assert np.array_equal(a.labels, alone[0][i])
        assert np.array_equal(b.labels, alone[1][i])
        assert a.vocabulary.classes == ('tree', 'road')


def test_two_threads_keep_their_own_words(inferencer):
    """Also while the text tower runs, whose tables are exchanged for a while."""
    image, kinds = make_image(), ('tree', 'road', 'sand', 'disc', 'sky')

    def segment(number, turn):
        # Of different lengths, new in every turn, in a batch with other sizes.
        words = [f'{kind} {turn}' for kind in kinds[number : 4 + number]]
        words = [f'a long name that begins alike: {word}' for word in words[number:]]
        result = inferencer(
            image, words, background_score=0.0, keep_scores=bool(number)
        )
        assert result.has_scores == bool(number)
        return result.labels

    alone = [[segment(number, turn) for turn in range(20)] for number in (0, 1)]
    inferencer.model.text_encoder.weights_changed()  # forgets what it has encoded
    barrier = threading.Barrier(2)

    def user(number):
        for turn, expected in enumerate(alone[number]):
            barrier.wait(timeout=60)
            assert np.array_equal(segment(number, turn), expected)

    with ThreadPoolExecutor(2) as users:
        for result in [users.submit(user, number) for number in (0, 1)]:
            result.result()


def test_words_are_read_encoded_and_projected_once(inferencer, tmp_path, monkeypatch):
    model, calls = type(inferencer.model), Counter()

    def count(owner, name):
        def counted(*args, **kwargs):
            calls[name] += 1
            return original(*args, **kwargs)

        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, counted)

    count(Vocabulary, '__post_init__')
    count(model, 'set_vocabulary')
    count(model, 'project_vocabulary')
    count(type(inferencer.model.text_encoder), 'encode_names')
    count(PixelData, 'cpu')
    images = [make_image(seed=seed) for seed in range(4)]
    inferencer(images, ['counted', 'words'], batch_size=4, out_dir=tmp_path)
    assert calls == dict(
        __post_init__=1, project_vocabulary=1, encode_names=1, cpu=len(images)
    )


def test_settings_of_a_call(inferencer):
    image = make_image(64, 64)
    whole, windows = (
        inferencer(image, WORDS, **settings).labels
        for settings in ({}, dict(mode='slide', crop_size=(16, 16), stride=(8, 8)))
    )
    assert not np.array_equal(whole, windows)
    assert inferencer.model.test_cfg == dict(mode='whole')
    with pytest.raises(ValueError, match="'slide' needs crop_size and stride"):
        inferencer.predict(image, WORDS, mode='slide')


# ---------------------------------------------------------------------- images
def test_a_batch_of_mixed_sizes_equals_single_images_in_order(inferencer, tmp_path):
    sizes = [(40, 56), (24, 33), (40, 56), (64, 17), (9, 9)]
    images = [make_image(*size, seed=i) for i, size in enumerate(sizes)]
    path = tmp_path / 'second.png'
    cv2.imwrite(str(path), images[1])
    mixed = [images[0], path, *images[2:]]
    single = [result.labels for result in inferencer(mixed, WORDS)]
    batched = [result.labels for result in inferencer(mixed, WORDS, batch_size=3)]
    assert [labels.shape for labels in single] == sizes
    for a, b in zip(single, batched, strict=True):
        assert (a == b).mean() > 0.99  # sums in another order may tip a tie
    assert len(np.unique(np.concatenate([s.ravel() for s in single]))) > 1


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_an_unreadable_file_costs_only_itself(inferencer, folder, batch_size):
    first, second, third = inferencer(folder, WORDS, batch_size=batch_size)
    assert (first.labels.shape, third.labels.shape) == ((40, 56), (24, 33))
    assert second.source.name == str(folder / 'b.png')
    assert 'not readable as an image' in second.reason in repr(second)
    assert second._repr_png_() is None
    message = 'b.png could not be segmented: ImageError: not readable'
    for use in (lambda: second.labels, second.plot, second.to_coco):
        with pytest.raises(ImageError, match=message):
            use()
    alone = inferencer(folder / 'c.jpg', WORDS)
    assert (alone.labels == third.labels).mean() > 0.99


def test_a_image_the_model_cannot_take_costs_only_itself(checkpoint):
    cfg = tiny_config()
    cfg.model.backbone.fit = 'error'  # sides have to be multiples of the patch
    inferencer = OpenVocabInferencer(cfg, checkpoint, 'cpu')
    images = [make_image(40, 56), make_image(40, 55), make_image(16, 16)]
    results = inferencer(images, WORDS, batch_size=3)
    assert [r.error is None for r in results] == [True, False, True]
    assert results[1].source.name == 'array 1'
    with pytest.raises(ImageError, match='array 0 could not be segmented: '):
        inferencer(images[1], WORDS)


def test_scores_that_are_not_finite_cost_only_their_image(checkpoint):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    forward = inferencer.model.backbone.forward
    inferencer.model.backbone.forward = lambda x: [
        m.masked_fill(x.mean((1, 2, 3), keepdim=True) > 1, torch.nan)
        for m in forward(x)
    ]
    images = [make_image(), np.full((40, 56, 3), 255, np.uint8)]
    good, bad = inferencer(images, WORDS, batch_size=2)
    assert good.error is None and bad.source.name == 'array 1'
    assert 'NaN or infinite' in bad.reason


@pytest.mark.parametrize('content', [b'', b'hello'])
def test_if_all_fail_it_raises(inferencer, tmp_path, content):
    path = tmp_path / 'x.png'
    path.write_bytes(content)
    for images in (path, [path]):
        with pytest.raises(ImageError, match='x.png could not be.*not readable'):
            inferencer(images, WORDS)


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('size', [(1, 1), (3, 50), (100, 40)])
def test_images_smaller_than_a_patch_or_larger_than_a_window(checkpoint, mode, size):
    windows = dict(crop_size=(32, 32), stride=(16, 16)) if mode == 'slide' else {}
    cfg = tiny_config(mode=mode, **windows)
    inferencer = OpenVocabInferencer(cfg, checkpoint, 'cpu')
    result = inferencer(make_image(*size), WORDS)
    assert result.labels.shape == size
    assert result.plot().size == size[::-1] and result.sheet().mode == 'RGB'


def test_file_formats_are_read_as_mmseg_reads_them(inferencer, tmp_path):
    rgb = make_image()[..., ::-1].copy()
    grey = rgb[..., 0].copy()
    same = {
        'palette.png': (Image.fromarray(rgb).quantize(64), rgb),
        'alpha.png': (Image.fromarray(np.dstack([rgb, grey])), rgb),
        'grey.png': (Image.fromarray(grey), np.dstack([grey] * 3)),
        'deep.png': (Image.fromarray(grey.astype(np.uint16) * 257), None),
    }
    same['deep.png'] = (same['deep.png'][0], same['grey.png'][1])
    for name, (image, expected) in same.items():
        image.save(tmp_path / name)
        (prediction,) = inferencer.predict(tmp_path / name, WORDS)
        assert np.abs(prediction.image.astype(int) - expected).max() <= 2, name
        assert prediction.labels.shape == grey.shape


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        ([], 'No images'),
        ('nowhere.png', 'No such file or folder: nowhere.png'),
        (['x.png', 'y.png'], 'x.png, y.png'),
        (['nowhere/*.png'], r'pattern nowhere/\*.png has no images'),
        (np.zeros((0, 4, 3), np.uint8), 'no pixels'),
        ([make_image(), 3], 'Image 1 is int; it has to be a path'),
    ],
)
def test_no_such_images(inferencer, images, message):
    with pytest.raises(ImageError, match=message):
        inferencer(images, WORDS)


def test_a_folder_without_images(inferencer, tmp_path):
    (tmp_path / 'sub').mkdir()
    with pytest.raises(ImageError, match='has no images.*subfolders'):
        inferencer(tmp_path, WORDS)


def test_patterns(folder):
    deep = folder / 'x' / 'y'
    deep.mkdir(parents=True)
    cv2.imwrite(str(deep / 'd.png'), make_image())
    cv2.imwrite(str(folder / 'e[1].png'), make_image())

    def names(*patterns):
        sources = list_images([str(folder / pattern) for pattern in patterns])
        return [Path(source.name).name for source in sources]

    assert names('*.jpg', 'b.png') == ['c.jpg', 'b.png']
    assert names('*') == ['a.png', 'b.png', 'c.jpg', 'e[1].png']  # no text, no folder
    assert names('**/*.png') == ['a.png', 'b.png', 'e[1].png', 'd.png']
    assert names('[ab].*') == ['a.png', 'b.png']
    assert names('e[1].png') == ['e[1].png']  # a file of that very name


def test_what_a_folder_has_besides_images_is_named(tmp_path, warned):
    for name in ('a.JPG', 'b.Jpeg', 'c.HEIC', 'd.gif', 'e.avif', '.f.png'):
        (tmp_path / name).write_bytes(b'')
    assert len(list_images(tmp_path)) == 5 and not warned
    for name in 'wxyz':
        (tmp_path / f'{name}.raw').write_bytes(b'')
    (tmp_path / 'sub').mkdir()
    assert len(list_images(str(tmp_path / '*'))) == len(list_images(tmp_path)) == 5
    rest = 'left out 4 files of other types: w.raw, x.raw, y.raw, ...'
    assert warned[0].endswith(rest) and warned[1].endswith(rest)
    assert "subfolders (sub) are included by '" in warned[2]
    with pytest.raises(ImageError, match=r'has no images: it has w.raw, x.raw'):
        list_images(str(tmp_path / '*.raw'))


def test_results_are_no_inputs(inferencer, folder, monkeypatch, warned):
    inferencer(folder / 'a.png', WORDS, out_dir=folder / 'out')
    again = list_images(str(folder / '**' / '*'))
    assert [Path(source.name).name for source in again] == ['a.png', 'b.png', 'c.jpg']
    with pytest.raises(ImageError, match='has no images: it has results of an earlier'):
        list_images(folder / 'out' / 'vis')
    result = folder / 'out' / 'vis' / 'a.png'
    assert len(list_images([folder / 'a.png', result])) == 1
    assert warned[-1].endswith('left out 1 file as results of an earlier run')
    monkeypatch.chdir(result.parent)
    for own in ('.', 'a.png', '*.png'):
        with pytest.raises(ImageError, match='results of an earlier run'):
            list_images(own)


# ----------------------------------------------------------------------- results
def test_what_is_written(inferencer, folder, tmp_path):
    out = tmp_path / 'out'
    other = folder / 'other'
    other.mkdir()
    cv2.imwrite(str(other / 'A.png'), make_image(16, 16))
    results = inferencer([folder, other], WORDS, out_dir=out)
    assert isinstance(results[0].sample, SegDataSample)
    legend = json.loads((out / 'legend.json').read_text())
    assert [entry['name'] for entry in legend['classes']] == list(WORDS)
    assert legend['images']['A_2'] == str(other / 'A.png')
    for part, suffix in dict(vis='png', pred='png', overlay='jpg').items():
        names = sorted(path.name for path in (out / part).iterdir())
        assert names == [f'{stem}.{suffix}' for stem in ('A_2', 'a', 'c')]
    written = np.array(Image.open(out / 'pred' / 'c.png'))
    assert written.dtype == np.uint8 and np.array_equal(written, results[2].labels)
    assert Image.open(out / 'overlay' / 'c.jpg').size == (33, 24)
    drawn = np.array(Image.open(out / 'vis' / 'a.png'))
    colours = {tuple(c['colour']) for c in legend['classes']}
    assert colours & set(map(tuple, drawn.reshape(-1, 3)))  # patches of the legend


@pytest.mark.parametrize('count', [255, 256, 300])
def test_label_maps_hold_any_number_of_classes(inferencer, tmp_path, count):
    words = [f'thing {i}' for i in range(count)]
    result = inferencer(make_image(), words, out_dir=tmp_path)
    with Image.open(tmp_path / 'pred' / 'array_0.png') as image:
        assert (image.mode == 'P') == (count <= 255)
        assert np.array_equal(np.array(image), result.labels)
        if image.mode == 'P':  # in the colours of the classes
            shown = np.array(image.convert('RGB'))
            assert np.array_equal(shown, result.palette[result.labels])


def test_scores_agree_with_labels_and_are_written(inferencer, folder, tmp_path):
    out = tmp_path / 'out'
    results = inferencer(
        folder, WORDS, background_score=0.1, out_dir=out, keep_scores=True
    )
    for place, name in ((0, 'a'), (2, 'c')):
        labels, kept = results[place].labels, results[place].scores
        assert kept.shape == (len(WORDS) + 1, *labels.shape)
        assert np.array_equal(kept.argmax(0), labels)
        assert (kept[0] == np.float32(0.1)).all()
        written = np.load(out / 'scores' / f'{name}.npy')
        assert written.dtype == np.float16
        assert np.allclose(written, kept, rtol=1e-3)
    assert sorted(p.name for p in (out / 'scores').iterdir()) == ['a.npy', 'c.npy']
    with pytest.raises(ImageError, match='call with keep_scores=True'):
        inferencer(folder / 'a.png', WORDS).scores  # noqa: B018


def test_scores_that_are_too_large_cost_only_their_image(inferencer, monkeypatch):
    limit = 4 * 3 * 100 * 100
    monkeypatch.setattr('mmseg_ovs.apis.prediction.LARGEST_SCORES', limit)
    images = [make_image(100, 100), make_image(101, 100), make_image(24, 33)]
    results = inferencer(images, WORDS, keep_scores=True, batch_size=3)
    assert [r.error is None for r in results] == [True, False, True]
    message = 'scores of 3 names at 100 x 101 pixels take 0.1 MiB'
    assert message in results[1].reason
    assert all(r.error is None for r in inferencer(images, WORDS))


# ----------------------------------------------------------------------- weights
def test_config_by_name():
    with pytest.raises(UnknownConfigError, match='Did you mean text-similarity_dino'):
        OpenVocabInferencer('text-similarity_dinov3-tiny_shapes')


def test_a_checkpoint_that_does_not_fit(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    del content['state_dict']['backbone.norm.bias']
    torch.save(content, tmp_path / 'half.pth')
    with pytest.raises(CheckpointError, match='half.pth does not fit'):
        OpenVocabInferencer(tiny_config(), tmp_path / 'half.pth', 'cpu')
    with pytest.raises(CheckpointError, match='No checkpoint at'):
        OpenVocabInferencer(tiny_config(), tmp_path / 'nowhere.pth', 'cpu')


def test_parts_load_their_own_weights_without_a_checkpoint(checkpoint):
    cfg = tiny_config()
    for part in ('backbone', 'text_encoder'):
        cfg.model[part].init_cfg = dict(
            type='Pretrained', checkpoint=str(checkpoint), prefix=f'{part}.'
        )
    own = OpenVocabInferencer(cfg, device='cpu')
    whole = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    assert own.model.state_dict().keys() == whole.model.state_dict().keys()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(own.model.state_dict()[key], value), key


def test_a_model_with_fixed_classes_is_refused():
    cfg = tiny_config()
    cfg.model = dict(
        type='EncoderDecoder',
        backbone=cfg.model.backbone,
        decode_head=dict(
            type='FCNHead', in_channels=24, channels=8, num_classes=2, num_convs=1
        ),
    )
    with pytest.raises(TypeError, match='fixed set of classes'):
        OpenVocabInferencer(cfg, device='cpu')


def test_random_weights_are_refused_before_anything_is_loaded(warned):
    cfg = tiny_config()
    nowhere = dict(type='Pretrained', checkpoint='https://localhost:1/backbone.pth')
    cfg.model.backbone.init_cfg = nowhere  # asking for it would be another error
    names = 'names no weights for text_encoder'
    with pytest.raises(CheckpointError, match=f'noise: no checkpoint.*{names}.*allow'):
        OpenVocabInferencer(cfg, device='cpu')
    assert not warned
    del cfg.model.backbone['init_cfg']
    OpenVocabInferencer(cfg, device='cpu', allow_random=True)
    assert 'for backbone, text_encoder: they are random' in warned[0]


def test_a_part_of_a_part_can_be_random_too(checkpoint):
    cfg = tiny_config()
    whole = dict(type='Pretrained', checkpoint=str(checkpoint), prefix='backbone.')
    cfg.model.backbone = dict(
        type='BackboneWithNeck',
        backbone=dict(cfg.model.backbone, init_cfg=whole),
        neck=dict(type='FPN', in_channels=[16], out_channels=16, num_outs=1),
    )
    with pytest.raises(CheckpointError, match=r'weights for backbone\.neck, text_enc'):
        OpenVocabInferencer(cfg, device='cpu')


def test_files_that_are_missing_are_said_together(tmp_path):
    cfg = tiny_config()
    for part in ('backbone', 'text_encoder', 'decode_head'):
        name = str(tmp_path / f'{part}.pth')
        cfg.model[part].init_cfg = dict(type='Pretrained', checkpoint=name)
    with pytest.raises(CheckpointError, match='backbone.pth, .*head.pth, .*text_'):
        OpenVocabInferencer(cfg, device='cpu')


def test_the_checkpoint_of_the_config_is_loaded(checkpoint):
    cfg = tiny_config()
    cfg.load_from = str(checkpoint)
    inferencer = OpenVocabInferencer(cfg, device='cpu')
    assert inferencer.weights == str(checkpoint)
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    for key, value in inferencer.model.state_dict().items():
        assert torch.equal(state[key], value), key


# ------------------------------------------------------------- mmseg's own interface
def stock_config():
    """What mmseg's own functions ask of a config besides ours."""
    cfg = tiny_config()
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.visualizer = dict(type='OpenVocabVisualizer', name='visualizer')
    return cfg


def test_mmseg_init_model_takes_the_words_of_the_training_data(checkpoint, inferencer):
    init_default_scope('mmseg')
    model = init_model(stock_config(), str(checkpoint), 'cpu')
    labels = inference_model(model, make_image()).pred_sem_seg.data[0].numpy()
    assert np.array_equal(labels, inferencer(make_image(), WORDS).labels)
    model.set_vocabulary(['tree'])
    assert not inference_model(model, make_image()).pred_sem_seg.data.any()
    assert model.dataset_meta['classes'] == ('tree',)


def test_mmseg_init_model_without_words_says_what_to_do():
    model = init_model(stock_config(), device='cpu')
    with pytest.raises(RuntimeError, match='call model.set_vocabulary'):
        inference_model(model, make_image())


def test_mmseg_inferencer_works(checkpoint, inferencer, folder):
    stock = MMSegInferencer(stock_config(), str(checkpoint), device='cpu')
    stock.show_progress = False
    paths = [str(folder / 'a.png'), str(folder / 'c.jpg')]
    predictions = stock(paths, batch_size=2, return_vis=True)['predictions']
    expected = [result.labels for result in inferencer(paths, WORDS)]
    for a, b in zip(predictions, expected, strict=True):
        assert (a == b).mean() > 0.99


@pytest.mark.parametrize(
    'name',
    [
        'text-similarity_mit-tiny_shapes-112x112',
        'text-similarity_dinov3-tiny_shapes-112x112',
    ],
)
def test_mmseg_inferencer_works_with_shipped_configs(name, folder):
    stock = MMSegInferencer(str(find_config(name)), device='cpu')
    stock.show_progress = False
    stock.model.set_vocabulary(WORDS)
    results = stock(str(folder / 'a.png'), return_vis=True)
    assert results['predictions'].shape == (40, 56)
    assert results['visualization'].ndim == 3
