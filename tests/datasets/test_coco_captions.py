"""Image-caption pairs: pairing, packing, and every way the files can be wrong."""

import json
import random

import numpy as np
import pytest
from mmengine.runner import Runner
from PIL import Image

from mmseg_ovs.datasets import COCOCaptionsDataset

CAPTIONS = {3: ['a red disc', 'one disc', 'a disc, red'], 9: ['ein blauer Ring ünd']}


def write(root, captions=None, images=(3, 9), files=(3, 9)):
    captions = CAPTIONS if captions is None else captions
    (root / 'train').mkdir(exist_ok=True)
    for i in files:
        Image.fromarray(np.full((20, 30, 3), i, np.uint8)).save(
            root / 'train' / f'{i:04}.png'
        )
    content = dict(
        images=[dict(id=i, file_name=f'{i:04}.png') for i in images],
        annotations=[
            dict(id=100 * i + k, image_id=i, caption=text)
            for i, texts in captions.items()
            for k, text in enumerate(texts)
        ],
    )
    (root / 'captions.json').write_text(json.dumps(content), encoding='utf-8')


def build(root, **kwargs):
    paths = dict(ann_file='captions.json', data_prefix=dict(img_path='train'))
    return COCOCaptionsDataset(data_root=str(root), **(paths | kwargs))


def test_one_sample_a_caption(tmp_path):
    write(tmp_path)
    dataset = build(tmp_path)
    pairs = [(dataset[i]['image_id'], dataset[i]['caption']) for i in range(4)]
    assert len(dataset) == 4
    assert pairs == [(i, text) for i, texts in CAPTIONS.items() for text in texts]


def test_one_sample_an_image_draws_every_caption(tmp_path):
    write(tmp_path)
    dataset = build(tmp_path, pairing='image')
    assert len(dataset) == 2
    random.seed(0)
    assert {dataset[0]['caption'] for _ in range(50)} == set(CAPTIONS[3])
    assert dataset[0]['captions'] == CAPTIONS[3]
    tested = build(tmp_path, pairing='image', test_mode=True)
    assert {tested[0]['caption'] for _ in range(20)} == {CAPTIONS[3][0]}


def test_caption_travels_in_the_metainfo_through_a_dataloader(tmp_path):
    write(tmp_path)
    resize = dict(type='Resize', scale=(100000, 16), keep_ratio=True)
    meta_keys = ('img_path', 'image_id', 'caption', 'img_shape')
    dataset = build(
        tmp_path,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(resize, interpolation='bicubic', backend='pillow'),
            dict(type='CenterCrop', crop_size=16),
            dict(type='PackSegInputs', meta_keys=meta_keys),
        ],
    )
    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
            dataset=dataset,
        )
    )
    batch = next(iter(loader))
    assert [tuple(x.shape) for x in batch['inputs']] == [(3, 16, 16)] * 4
    captions = [sample.metainfo['caption'] for sample in batch['data_samples']]
    assert captions == [text for texts in CAPTIONS.values() for text in texts]
    assert batch['data_samples'][0].img_shape == (16, 16)


def test_missing_files(tmp_path):
    write(tmp_path, files=(3,))
    with pytest.raises(FileNotFoundError, match=r'1 of the 2 images.*0009\.png'):
        build(tmp_path)
    with pytest.raises(FileNotFoundError, match='nowhere.json'):
        build(tmp_path, ann_file='nowhere.json')
    with pytest.raises(FileNotFoundError, match='2 of the 2 images'):
        build(tmp_path, data_prefix=dict(img_path='no_such_folder'))


@pytest.mark.parametrize(
    'content, message',
    [
        ('', 'not json'),
        ('{"images": []', 'not json'),
        ('[{"image": "a.jpg", "caption": "Karpathy"}]', 'COCO'),
        ('{"annotations": []}', 'COCO'),
        ('{"images": [{"id": 1}], "annotations": []}', 'file_name'),
        ('{"images": [], "annotations": []}', 'no captions'),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}],'
            ' "annotations": [{"image_id": 1, "caption": "x"}]}',
            'same id',
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}],'
            ' "annotations": [{"image_id": 1, "text": "x"}]}',
            'annotation 0 needs',
        ),
    ],
)
def test_wrong_json(tmp_path, content, message):
    (tmp_path / 'captions.json').write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        build(tmp_path)
    assert 'captions.json' in str(caught.value)


@pytest.mark.parametrize(
    ('image', 'caption', 'message'),
    [
        (77, 'y', 'annotation 1 is for image 77'),
        *((3, text, 'annotation 1 has no text') for text in ('', '  \n', None, 5)),
    ],
)
def test_a_wrong_caption_is_named(tmp_path, image, caption, message):
    captions = {3: ['x']}
    captions[image] = [*captions.get(image, []), caption]
    write(tmp_path, captions)
    with pytest.raises(ValueError, match=message):
        build(tmp_path)


def test_unknown_pairing(tmp_path):
    with pytest.raises(ValueError, match="'caption', 'image'"):
        build(tmp_path, pairing='all')
