"""The data set of images with a mask a noun, and the decoding of its masks."""

import copy
import json
import pickle

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmseg.registry import DATASETS, TRANSFORMS

import mmseg_ovs.datasets  # noqa: F401
from mmseg_ovs.datasets import NounMasksDataset
from mmseg_ovs.datasets.sample_errors import SampleError
from tests.instance_file import encode, instance_file

# (height, width, {noun: share of rows}) an image; the second has no mask.
IMAGES = [
    (20, 30, {'dog': 0.5, 'tree': 0.25, 'man': 0.1}),
    (10, 12, {}),
    (16, 24, {'tree': 1.0}),
]
NAMES = ['dog', 'man', 'tree', 'zebra']
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadNounMasks')]


def upper_rows(height, width, share):
    mask = np.zeros((height, width), np.uint8)
    mask[: round(height * share)] = 1
    return mask


@pytest.fixture
def content():
    images = [
        (height, width, {n: upper_rows(height, width, s) for n, s in shares.items()})
        for height, width, shares in IMAGES
    ]
    return instance_file(images, NAMES, first=5)


@pytest.fixture
def build(tmp_path, content):
    """Write the file and build the data set."""
    (tmp_path / 'images').mkdir()
    for number, (height, width, _) in enumerate(IMAGES):
        image = np.full((height, width, 3), number, np.uint8)
        cv2.imwrite(str(tmp_path / 'images' / f'{number}.png'), image)

    def dataset(pipeline=PIPELINE, **kwargs) -> NounMasksDataset:
        (tmp_path / 'masks.json').write_text(json.dumps(content))
        config = dict(
            type='NounMasksDataset',
            data_root=str(tmp_path),
            ann_file='masks.json',
            data_prefix=dict(img_path='images'),
            pipeline=pipeline,
        )
        return DATASETS.build(dict(config, **kwargs))

    return dataset


def test_samples(build, tmp_path, caplog):
    dataset = build()
    assert len(dataset) == 2
    assert dataset.metainfo['nouns'] == tuple(NAMES)
    assert 'classes' not in dataset.metainfo
    sample = dataset[0]
    assert sample['nouns'] == ['dog', 'tree', 'man']
    assert sample['img_path'] == str(tmp_path / 'images' / '0.png')
    assert sample['captions'] == ['Image 0.']
    assert sample['seg_fields'] == ['gt_noun_masks']
    masks = sample['gt_noun_masks']
    assert masks.shape == (20, 30, 3)
    assert masks.dtype == np.uint8
    for place, share in enumerate((0.5, 0.25, 0.1)):
        np.testing.assert_array_equal(masks[..., place], upper_rows(20, 30, share))
    assert dataset[1]['nouns'] == ['tree']
    assert dataset[1]['gt_noun_masks'].shape == (16, 24, 1)


def test_samples_are_the_same_the_second_time_and_in_workers(build):
    dataset = build()
    first = dataset[0]
    first['gt_noun_masks'][:] = 7
    first['nouns'].append('more')
    for again in (dataset[0], pickle.loads(pickle.dumps(dataset))[0]):
        assert again['nouns'] == ['dog', 'tree', 'man']
        assert again['seg_fields'] == ['gt_noun_masks']
        assert again['gt_noun_masks'].max() == 1
    assert build(serialize_data=False)[0]['gt_noun_masks'].sum() == (10 + 5 + 2) * 30


def test_images_without_masks_are_reported(build, warned):
    build()
    (text,) = warned
    assert '1 of 3 images have no mask and are left out' in text


@pytest.mark.parametrize('sample', [0, 1])
def test_mmsegs_transforms_take_the_masks_along(build, sample):
    """One mask or several; PackNounMasks puts back the axis that cv2 drops."""
    transforms = [
        dict(type='Resize', scale=(48, 32)),
        dict(type='RandomFlip', prob=1.0, direction='vertical'),
        dict(type='RandomCrop', crop_size=(16, 40)),
        dict(type='PackNounMasks'),
    ]
    packed = build([*PIPELINE, *transforms])[sample]
    data = packed['data_samples']
    masks = data.gt_noun_masks.data.numpy()
    shares = [0.5, 0.25, 0.1] if sample == 0 else [1.0]
    assert masks.shape == (len(shares), 16, 40)
    assert set(np.unique(masks)) <= {0, 1}
    assert packed['inputs'].shape == (3, 16, 40)
    assert len(data.nouns) == len(shares)
    # The upper half is now the lower one: crops begin between rows 0 and 16.
    for mask in masks:
        assert (np.diff(mask.astype(int), axis=0) >= 0).all()


def test_many_nouns_pass_through_resize_and_more_are_refused():
    rle = encode(upper_rows(6, 8, 0.5))
    load = TRANSFORMS.build(dict(type='LoadNounMasks'))

    def sample(count):
        return dict(
            img=np.zeros((6, 8, 3), np.uint8),
            img_shape=(6, 8),
            nouns=[f'noun {k}' for k in range(count)],
            noun_masks=[rle] * count,
            noun_masks_size=(6, 8),
        )

    resize = TRANSFORMS.build(dict(type='Resize', scale=(16, 12), keep_ratio=False))
    assert resize(load(sample(128)))['gt_noun_masks'].shape == (12, 16, 128)
    with pytest.raises(ValueError, match='129 masks'):
        load(sample(129))
    assert load(sample(0))['gt_noun_masks'].shape == (6, 8, 0)


@pytest.mark.parametrize('counts', ['', '5', 'not rle', '\u00ff', 'P1'])
def test_a_broken_mask_is_named_with_its_image(build, content, counts):
    content['annotations'][1]['segmentation']['counts'] = counts
    dataset = build()
    assert dataset[1]['nouns'] == ['tree']
    with pytest.raises(SampleError, match=r"0\.png.*mask of 'tree' is broken"):
        dataset[0]


def test_a_image_that_was_changed_later(build, tmp_path):
    dataset = build()
    cv2.imwrite(str(tmp_path / 'images' / '0.png'), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(SampleError, match=r'0\.png.*20 x 30, the file has 9 x 9'):
        dataset[0]


def double(part):
    return lambda content: content[part].append(copy.deepcopy(content[part][0]))


def annotate(**values):
    return lambda content: content['annotations'][3].update(values)


def segment(**values):
    return lambda content: content['annotations'][3]['segmentation'].update(values)


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda c: c.pop('categories'), "instance format.*KeyError\\('categories'"),
        (lambda c: c['images'][2].pop('height'), '1 images lack'),
        (annotate(category_id=99), 'annotation 3 is of category 99.* 4 categ'),
        (annotate(image_id=77), 'annotation 3 is of image 77'),
        (annotate(segmentation=[[1, 2, 3]]), 'annotation 3 needs'),
        (annotate(image_id=0), 'annotation 3 is a mask of 16 x 24.*20 x 30'),
        (segment(size=[24, 16]), '24 x 16, its image 2.png has 16 x 24'),
        (segment(counts=[3, 4]), 'annotation 3 has no compressed'),
        (double('annotations'), "annotation 4: image 0 has two masks of 'dog'"),
        (double('images'), 'same id'),
        (double('categories'), 'same id'),
        (lambda c: c['categories'][0].update(name='man'), 'same name'),
        (lambda c: c.update(annotations=[]), 'no image of .* has a mask'),
    ],
)
def test_bad_files(build, content, change, words):
    change(content)
    with pytest.raises(ValueError, match=words):
        build()


def test_missing_files(build, tmp_path):
    (tmp_path / 'images' / '1.png').unlink()  # has no mask
    build()
    (tmp_path / 'images' / '2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of the 2 images.*2\.png'):
        build()
    with pytest.raises(FileNotFoundError, match='none.json does not exist'):
        build(ann_file='none.json')
    (tmp_path / 'broken.json').write_text('{')
    with pytest.raises(ValueError, match='broken.json is not json'):
        build(ann_file='broken.json')


def test_the_transform_alone_asks_for_what_it_needs():
    with pytest.raises(KeyError, match='noun_masks'):
        Compose([dict(type='LoadNounMasks')])(dict(img_path='a.png'))


# ---------------------------------------------------------------------- scores
@pytest.fixture
def scored(content):
    for annotation, score in zip(
        content['annotations'], (0.9, 0.4, 0.5, 0.35), strict=True
    ):
        annotation['score'] = score
    return content


def test_masks_of_a_low_score_are_left_out(build, scored):
    assert [build()[i]['nouns'] for i in range(2)] == [['dog', 'tree', 'man'], ['tree']]
    kept = build(min_score=0.5)
    assert len(kept) == 1 and kept[0]['nouns'] == ['dog', 'man']
    assert kept[0]['gt_noun_masks'].sum(axis=(0, 1)).tolist() == [300, 60]
    assert kept.metainfo['nouns'] == tuple(NAMES)
    with pytest.raises(ValueError, match='no image of .* has a mask of score 0.95'):
        build(min_score=0.95)
    for wrong in (35, float('nan'), '0.5x'):
        with pytest.raises(ValueError, match='min_score has to be in 0..1'):
            build(min_score=wrong)


def test_scores_become_weights(build, scored):
    pipeline = [*PIPELINE, dict(type='PackNounMasks')]
    sample = build(pipeline, weight_by_score=True)[0]['data_samples']
    assert dict(zip(sample.nouns, sample.noun_weights, strict=True)) == dict(
        dog=0.9, tree=0.4, man=0.5
    )
    assert build(pipeline, weight_by_score=True, min_score=0.45)[0][
        'data_samples'
    ].noun_weights == [0.9, 0.5]
    assert 'noun_weights' not in build(pipeline)[0]['data_samples']
    with pytest.raises(ValueError, match="True or False, not 'no'"):
        build(pipeline, weight_by_score='no')


@pytest.mark.parametrize('score', [None, '0.5', 1.5, float('nan'), True])
@pytest.mark.parametrize('asked', [dict(min_score=0.1), dict(weight_by_score=True)])
def test_masks_without_scores(build, scored, score, asked):
    scored['annotations'][2]['score'] = score
    build()  # where nothing reads them
    message = r'masks.json, annotation 2 has no "score".*merge stage of tools/pseudo'
    with pytest.raises(ValueError, match=message):
        build(**asked)
