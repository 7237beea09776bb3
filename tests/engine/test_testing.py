"""``tools/test.py``: results of every image, with or without labels, augmented."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from tiny_run import MODEL, make_config, write_config

from mmseg_ovs.datasets.image_names import image_names
from mmseg_ovs.engine.testing import augment_at_test_time, without_scores
from mmseg_ovs.evaluation import BoundaryIoUMetric, OpenVocabIoUMetric
from tests.tool_loader import run_tool

CLASSES = ('sky', 'road', 'red car', 'tree')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A config, weights, and two images called 0 in subfolders."""
    folder = tmp_path_factory.mktemp('run')
    write_config(folder)
    for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
        for sub in 'ab':
            (folder / kind / 'both' / sub).mkdir(parents=True)
            source = folder / kind / f'{ord(sub) - ord("a")}.{suffix}'
            shutil.copy(source, folder / kind / 'both' / sub / f'0.{suffix}')
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(MODEL)
    torch.save(dict(state_dict=model.state_dict()), folder / 'tiny.pth')
    return folder


@pytest.fixture
def test(folder, tmp_path):
    def run(*arguments, labels='labels/both'):
        prefix = dict(img_path='images/both', seg_map_path=labels)
        dataset = 'test_dataloader.dataset'
        run_tool(
            *('tools/test.py', folder / 'tiny.py', folder / 'tiny.pth'),
            *('--work-dir', tmp_path / 'work', *arguments, '--cfg-options'),
            *(f'{dataset}.data_prefix={prefix}', f'{dataset}.indices=None'),
            f'{dataset}.type=OpenVocabSegDataset',
        )

    return run


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*.png'))


@pytest.mark.parametrize('labels', ['labels/both', None])
def test_images_of_one_name_have_results_of_their_own(test, tmp_path, labels):
    test('--out', tmp_path / 'out', '--show-dir', tmp_path / 'show', labels=labels)
    assert files(tmp_path / 'out') == ['a/0.png', 'b/0.png']
    drawn = [name.split('vis_image/')[1] for name in files(tmp_path / 'show')]
    assert drawn == ['a/test_0.jpg_0.png', 'b/test_0.jpg_0.png']
    maps = [np.array(Image.open(tmp_path / f'out/{s}/0.png')) for s in 'ab']
    assert maps[0].shape == (32, 32) and maps[0].dtype == np.uint8


@pytest.mark.parametrize(
    ('arguments', 'labels', 'message'),
    [
        ([], None, 'no labels .*, so there are no scores: give --out'),
        (['--out', '{folder}/images/both/x'], 'labels/both', '--out .* image folder'),
        (['--out', '{folder}/tiny.py'], 'labels/both', 'tiny.py is a file'),
    ],
)
def test_mistakes(test, folder, arguments, labels, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        test(*(a.format(folder=folder) for a in arguments), labels=labels)


def test_format_only_at_one_metric_leaves_the_others(folder):
    cfg = make_config(folder)
    scoring = dict(type='IoUMetric')
    writing = dict(type='IoUMetric', format_only=True, output_dir='out')
    cfg.test_evaluator = [scoring, writing]
    without_scores(cfg, writes=False)
    assert cfg.test_evaluator == [scoring, writing]


def test_augmentation_of_images_without_labels_loads_none(folder):
    cfg = make_config(folder)
    cfg.test_dataloader.dataset.data_prefix.pop('seg_map_path')
    views = [[dict(type='RandomFlip', prob=0.0)], [dict(type='PackSegInputs')]]
    labels = [dict(type='LoadAnnotations')]
    augmented = dict(type='TestTimeAug', transforms=[views[0], labels, views[1]])
    cfg.tta_pipeline = [dict(type='LoadImageFromFile'), augmented]
    without_scores(cfg, writes=True)
    assert cfg.tta_pipeline[1].transforms == views


def test_format_only_without_a_folder_writes_nothing(folder):
    cfg = make_config(folder)
    cfg.test_evaluator = [dict(cfg.test_evaluator[0], format_only=True)]
    with pytest.raises(ValueError, match='OpenVocabIoUMetric has format_only'):
        without_scores(cfg, writes=False)
    without_scores(cfg, writes=True)
    assert cfg.test_evaluator == []


def test_metrics_that_would_lose_results_are_named(tmp_path):
    with pytest.raises(ValueError, match='BoundaryIoUMetric: format_only without'):
        BoundaryIoUMetric(format_only=True)
    metric = OpenVocabIoUMetric(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = dict(classes=CLASSES)
    samples = [
        dict(img_path=f'{sub}/0.png', pred_sem_seg=dict(data=torch.zeros(1, 2, 2)))
        for sub in 'ab'
    ]
    with pytest.raises(ValueError, match='a/0.png and b/0.png have one file'):
        metric.process({}, samples)


class Paths:
    """A data set of paths."""

    def __init__(self, *paths, folder=None):
        self.paths, self.data_prefix = paths, dict(img_path=folder)

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, i):
        return dict(img_path=self.paths[i])


@pytest.mark.parametrize(
    ('paths', 'folder', 'names'),
    [
        (['d/x/1.png', 'd/x/2.png'], 'd', ['x/1', 'x/2']),
        (['d/x/1.png', 'd/y/1.png'], None, ['x/1', 'y/1']),
        (['d/1.png', 'd/1.jpg'], 'd', ['1', '1_2']),
        (['s3://b/x/1.png', 's3://b/1.v2.png'], 's3://b', ['x/1', '1.v2']),
    ],
)
def test_names_of_results(paths, folder, names):
    assert list(image_names(Paths(*paths, folder=folder)).values()) == names


@pytest.mark.slow
def test_augmentation_from_the_command_line(test, tmp_path):
    test('--tta', '--out', tmp_path / 'out')
    assert files(tmp_path / 'out') == ['a/0.png', 'b/0.png']


@pytest.mark.parametrize('background', [None, dict(type='threshold', value=0.1)])
def test_flips_give_the_mean_of_both(folder, background):
    cfg = make_config(folder)
    cfg.tta_model = dict(type='SegTTAModel')  # mmseg's cannot
    augment_at_test_time(cfg)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    words = dict(source=CLASSES, background=background) if background else CLASSES
    model.module.set_vocabulary(words)
    model.eval()
    pixels = cv2.imread(str(folder / 'images/0.jpg'))[:, :24]

    def scores(image):
        image = torch.from_numpy(image.copy()).permute(2, 0, 1)
        data = model.module.data_preprocessor(dict(inputs=[image]), False)
        (sample,) = model.module.predict(data['inputs'], keep_logits=True)
        return sample.seg_logits.data

    dataset = Config(dict(steps=cfg.test_dataloader.dataset.pipeline)).steps
    steps = [step for step in dataset if step['type'] != 'LoadImageFromFile']
    views = steps[-1]['transforms']
    steps[-1]['transforms'] = [v for v in views if v[0]['type'] != 'LoadLabelMap']
    loaded = dict(img=pixels, img_path='0', ori_shape=(32, 24), img_shape=(32, 24))
    data = Compose(steps)(loaded)
    (sample,) = model.test_step(pseudo_collate([data]))
    mean = (scores(pixels) + scores(pixels[:, ::-1]).flip(-1)) / 2
    torch.testing.assert_close(sample.seg_logits.data, mean)
    assert torch.equal(sample.pred_sem_seg.data, mean.argmax(0, keepdim=True))
