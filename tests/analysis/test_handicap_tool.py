"""The command that chooses a handicap: what it compares, writes and refuses."""

import csv

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.datasets import OpenVocabSegDataset
from mmseg_ovs.evaluation.handicap_curve import HandicapCurve
from mmseg_ovs.utils import OpenVocabError
from tests.tiny import NAMES, build, config, talk2dino
from tests.tool_loader import load_tool

HIDDEN, NEVER = [NAMES[1]], [NAMES[4]]
STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLabelMap'),
    dict(type='PackSegInputs'),
]


@pytest.fixture(scope='module')
def main():
    return load_tool('tools/analysis/seen_handicap.py').main


@pytest.fixture
def files(tmp_path):
    """Arguments of the command for a model that never met the last of five names."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for name in ('a', 'b'):
        image = rng.integers(0, 256, (42, 56, 3), np.uint8)
        label = rng.integers(0, len(NAMES), (42, 56), np.uint8)
        label[:4] = 255
        cv2.imwrite(str(tmp_path / f'images/{name}.png'), image)
        cv2.imwrite(str(tmp_path / f'labels/{name}.png'), label)
    data = dict(
        type='OpenVocabSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        metainfo=dict(classes=NAMES, palette=[[i] * 3 for i in range(5)]),
    )
    cfg = config(talk2dino, tmp_path, postprocessors=[])
    loader = dict(
        batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False)
    )
    loader['dataset'] = dict(data, pipeline=STEPS, test_mode=True)
    cfg.val_dataloader = cfg.test_dataloader = loader
    cfg.dump(tmp_path / 'tiny.py')
    data.pop('type')
    metainfo = OpenVocabSegDataset(**data, hidden_classes=HIDDEN).metainfo
    metainfo['seen_classes'] = NAMES[0:1] + NAMES[2:4]
    state = build(talk2dino, tmp_path, postprocessors=[]).state_dict()
    for name, meta in (('hidden', metainfo), ('whole', dict(classes=NAMES))):
        content = dict(state_dict=state, meta=dict(dataset_meta=meta))
        torch.save(content, tmp_path / f'{name}.pth')
    return [str(tmp_path / name) for name in ('tiny.py', 'hidden.pth', 'whole.pth')]


def rows(out):
    with (out / 'handicap.csv').open(newline='') as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_trained_and_hidden_classes_alone_are_compared(main, files, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main([*files[:2], '--out', str(out)]) == 0
    inferencer = OpenVocabInferencer(*files[:2], device='cpu')
    asked = NAMES[:4]
    found = rows(out)
    curve = HandicapCurve(
        torch.tensor([name not in HIDDEN for name in asked]),
        [row['handicap'] for row in found],
    )
    for name in ('a', 'b'):
        result = inferencer(str(tmp_path / f'images/{name}.png'), asked, keep_scores=1)
        label = torch.from_numpy(
            cv2.imread(str(tmp_path / f'labels/{name}.png'), cv2.IMREAD_UNCHANGED)
        )
        label[label == 4] = 255
        curve.add(torch.from_numpy(result.scores), label)
    for row, point in zip(found, curve.points(), strict=True):
        for name in ('seen', 'unseen', 'harmonic'):
            assert row[name] == pytest.approx(getattr(point, name), abs=0.05)
    assert len({row['unseen'] for row in found}) > 3
    best = max(found, key=lambda row: row['harmonic'])
    printed = capsys.readouterr().out
    assert f'model.test_cfg.seen_handicap={best["handicap"]:.4g}' in printed
    assert cv2.imread(str(out / 'handicap.png')).std() > 10


def test_the_test_draws_and_chooses_nothing(main, files, tmp_path, capsys):
    more = ['--handicaps', '0', '0.5', '--draw-test', '--out', str(tmp_path / 'out')]
    main([*files[:2], *more])
    printed = capsys.readouterr().out
    assert '3 trained classes, 2 untrained' in printed and 'chosen' not in printed
    assert [row['handicap'] for row in rows(tmp_path / 'out')] == [0, 0.5]


def test_what_cannot_choose_is_refused(main, files, tmp_path):
    more = ['--out', str(tmp_path / 'out')]
    with pytest.raises(SystemExit, match='trained without hidden classes'):
        main([files[0], files[2], *more])
    for name in ('a', 'b'):
        path = str(tmp_path / f'labels/{name}.png')
        label = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        cv2.imwrite(path, np.where(label == 1, 255, label).astype(np.uint8))
    with pytest.raises(SystemExit, match='that the validation data show'):
        main([*files[:2], *more])
    with pytest.raises(SystemExit, match='5 classes of the data were trained and 0'):
        main([files[0], files[2], '--draw-test', *more])


def test_data_without_labels(main, files, tmp_path):
    cfg = Config.fromfile(files[0])
    cfg.val_dataloader.dataset.pipeline.pop(1)
    cfg.dump(tmp_path / 'bare.py')
    bare = str(tmp_path / 'bare.py')
    with pytest.raises(SystemExit, match='a.png comes without labels'):
        main([bare, files[1], '--out', str(tmp_path / 'out')])


@pytest.mark.parametrize('wrong', ['nan', 'inf', '-1'])
def test_handicaps_that_no_config_takes(main, files, tmp_path, wrong, capsys):
    with pytest.raises(SystemExit):
        main([*files[:2], '--out', str(tmp_path / 'out'), '--handicaps', '0', wrong])
    assert 'numbers from 0 on' in capsys.readouterr().err


def test_predictions_honour_the_names_of_their_checkpoint(files, tmp_path):
    image = str(tmp_path / 'images/a.png')
    labels = OpenVocabInferencer(*files[:2], device='cpu')(image, seen_handicap=1e3)
    assert {NAMES[i] for i in np.unique(labels.labels)} <= {*HIDDEN, *NEVER}
    torch.save(torch.load(files[1])['state_dict'], tmp_path / 'bare.pth')
    bare = OpenVocabInferencer(files[0], tmp_path / 'bare.pth', device='cpu')
    with pytest.raises(OpenVocabError, match='names met in training, and none'):
        bare(image, seen_handicap=1e3)
