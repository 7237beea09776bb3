"""Pairs of features from shards: values, order, workers, and broken folders."""

import json
import pickle

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from safetensors.torch import save

from mmseg_ovs.datasets import FeaturePairsDataset
from mmseg_ovs.datasets.feature_shards import (
    MANIFEST,
    FeatureFileError,
    shard_name,
    verify_shard,
    write_manifest,
    write_shard,
)
from mmseg_ovs.jobs import JobError

SETTING = dict(backbone_weights='ab12', pipeline=[dict(type='Resize', scale=[9, 9])])
# captions of each image, by shard
CAPTIONS = [[2, 1, 3], [1, 4]]


def write_features(folder, setting=SETTING):
    """Two shards; returns the pairs that they hold, in order."""
    generator = torch.Generator().manual_seed(1)
    pairs, records = [], []
    folder.mkdir(exist_ok=True)
    for number, counts in enumerate(CAPTIONS):
        visual = torch.randn(len(counts), 3, 8, generator=generator).half()
        text = torch.randn(sum(counts), 5, generator=generator).half()
        image_index = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        path = folder / shard_name(number)
        write_shard(path, visual, text, image_index, setting)
        records.append(verify_shard(path)[1])
        pairs += zip(visual[image_index], text, strict=True)
    write_manifest(folder, setting, records)
    return pairs


def test_one_sample_a_caption_with_the_features_of_its_image(tmp_path):
    pairs = write_features(tmp_path)
    dataset = DATASETS.build(dict(type='FeaturePairsDataset', data_root=str(tmp_path)))
    assert len(dataset) == len(pairs) == 11
    for i in torch.randperm(11).tolist():  # also back and forth between shards
        sample = dataset[i]
        assert sample['visual'].dtype == sample['text'].dtype == torch.float32
        assert torch.equal(sample['visual'], pairs[i][0].float())
        assert torch.equal(sample['text'], pairs[i][1].float())
    for i in (-1, 11):
        with pytest.raises(IndexError):
            dataset[i]
    assert dataset.metainfo == dict(features=SETTING)


@pytest.mark.parametrize('workers', [0, 1])
def test_batches_through_the_runners_dataloader(tmp_path, workers):
    pairs = write_features(tmp_path)
    dataset = FeaturePairsDataset(tmp_path)
    dataset[0]  # an open shard does not travel to the worker
    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=workers,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dataset,
        )
    )
    visual = torch.cat([batch['visual'] for batch in loader])
    assert torch.equal(visual, torch.stack([v.float() for v, _ in pairs]))


def test_pickled_with_an_open_shard(tmp_path):
    write_features(tmp_path)
    dataset = FeaturePairsDataset(tmp_path)
    first = dataset[0]
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[0]['visual'], first['visual'])


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def remove(name):
    return lambda folder: (folder / name).unlink()


def truncate(size):
    def change(folder):
        path = folder / shard_name(0)
        path.write_bytes(path.read_bytes()[:size])

    return change


def edit_manifest(edit):
    def change(folder):
        manifest = json.loads((folder / MANIFEST).read_text())
        edit(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return change


def take_a_shard_of_another_setting(folder):
    write_features(folder / 'other', dict(SETTING, backbone_weights='cd34'))
    (folder / 'other' / shard_name(1)).replace(folder / shard_name(1))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (remove(MANIFEST), r'no .*manifest.*extract_features\.py'),
        (write(MANIFEST, b'{"shards": ['), 'manifest'),
        (write(MANIFEST, b'[]'), 'manifest'),
        (write(MANIFEST, b'{"shards": []}'), 'manifest'),
        (remove(shard_name(1)), '00001.safetensors are missing'),
        (truncate(0), '00000.safetensors are damaged'),
        (truncate(5), '00000.safetensors are damaged'),
        (truncate(200), '00000.safetensors are damaged'),
        (truncate(-1), '00000.safetensors are damaged'),
        (
            write(shard_name(0), save({'x': torch.zeros(2)})),
            'not a file that .*extract_features',
        ),
        (
            edit_manifest(lambda m: m.update(captions=12)),
            '11 captions, its manifest says 12',
        ),
        (
            edit_manifest(lambda m: m['shards'][1]['text'].__setitem__(0, 4)),
            r'00001.*shapes.*\[5, 5\]',
        ),
        (edit_manifest(lambda m: m.update(shards=[], captions=0)), 'holds 0 captions'),
        (take_a_shard_of_another_setting, r'00001.*differs in: backbone_weights\.'),
    ],
)
def test_a_broken_folder_is_refused(tmp_path, change, message):
    write_features(tmp_path)
    change(tmp_path)
    with pytest.raises(JobError, match=message):
        FeaturePairsDataset(tmp_path)


def test_a_flipped_bit_is_found_by_the_digest(tmp_path):
    write_features(tmp_path)
    path = tmp_path / shard_name(0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FeatureFileError, match='digests differ'):
        verify_shard(path)


def test_features_beyond_half_precision_are_refused(tmp_path):
    big = torch.full((1, 5), 1e5)
    path = tmp_path / shard_name(0)
    with pytest.raises(FeatureFileError, match='text features .* not finite'):
        write_shard(path, torch.zeros(1, 3, 8), big, torch.zeros(1), SETTING)
    assert not list(tmp_path.iterdir())
