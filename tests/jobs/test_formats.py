"""Files of long jobs keep their bytes: a run of an older version goes on."""

import hashlib

import torch

from mmseg_ovs.datasets import feature_shards, teacher_features
from mmseg_ovs.pseudo_masks import shards

SETTING = dict(weights='ab12', pipeline=[dict(type='Resize', scale=14)])


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def test_features_of_images_and_captions(tmp_path):
    path = tmp_path / feature_shards.shard_name(0)
    visual, text = torch.arange(12.0).view(2, 2, 3), torch.arange(9.0).view(3, 3) / 8
    index = torch.tensor([0, 0, 1])
    feature_shards.write_shard(path, visual, text, index, SETTING)
    setting, record = feature_shards.verify_shard(path)
    feature_shards.write_manifest(tmp_path, setting, [record])
    assert digest(path) == 'aaebc886b32223db'
    assert digest(tmp_path / 'manifest.json') == 'd6a2f1eb9cf7f83d'


def test_features_of_a_teacher(tmp_path):
    path = teacher_features.feature_path(tmp_path, 'photos/é.jpg')
    setting = teacher_features.setting_digest(SETTING)
    teacher_features.write_features(path, torch.arange(8.0).view(2, 2, 2), setting)
    teacher_features.write_manifest(tmp_path, SETTING, 1)
    assert digest(path) == '6fdb3277627d10c1'
    assert digest(tmp_path / 'manifest.json') == '5e176a47de13734d'


def test_records_of_images(tmp_path):
    items = [shards.Item(n, f'{n}.jpg', dict(nouns=[n, 'é'])) for n in (7, 3)]
    facts = shards.describe_shard('boxes', shards.WHOLE, 2, SETTING)
    path = shards.write_shard(tmp_path, facts, items, lambda item: dict(size=[4, 5]))
    assert digest(path) == '02940e274102249a'
