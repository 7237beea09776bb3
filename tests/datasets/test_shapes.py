"""The embedded shapes set: split, images, labels, captions, files, data set."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from mmseg.registry import DATASETS

from mmseg_ovs.datasets import COCOCaptionsDataset, ShapesDataset
from mmseg_ovs.datasets.shapes import (
    CLASSES,
    IGNORE_LABEL,
    SEEN_CLASSES,
    SIZE,
    SPLITS,
    STUFF_CLASSES,
    THING_CLASSES,
    UNSEEN_CLASSES,
    compose_scene,
    describe_scene,
    make_palette,
    render_scene,
    write_shapes,
)
from mmseg_ovs.datasets.shapes.colours import RGB
from mmseg_ovs.datasets.shapes.geometry import SHAPE_DISTANCE
from mmseg_ovs.datasets.shapes.names import COLOURS, LABELS, SHAPES, TEXTURES
from mmseg_ovs.datasets.shapes.textures import PATTERN
from tests.tool_loader import ROOT, load_tool, run_tool

SIZES = (6, 3, 2)


def scenes(split, count, seed=0):
    return [compose_scene(seed, split, index) for index in range(count)]


def names_in(scene):
    return [part.name for part in (*scene.things, *scene.grounds)]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes')
    assert write_shapes(out, seed=5, sizes=SIZES) == sum(SIZES)
    return out


def read_all(out):
    return {p.relative_to(out): p.read_bytes() for p in out.rglob('*') if p.is_file()}


def test_there_are_104_distinct_classes_of_which_16_are_unseen():
    assert len(CLASSES) == len(set(CLASSES)) == 104
    assert (len(THING_CLASSES), len(STUFF_CLASSES)) == (64, 40)
    assert set(SEEN_CLASSES) | set(UNSEEN_CLASSES) == set(CLASSES)
    assert not set(SEEN_CLASSES) & set(UNSEEN_CLASSES)
    assert len(set(UNSEEN_CLASSES) & set(THING_CLASSES)) == 8
    assert len(set(UNSEEN_CLASSES) & set(STUFF_CLASSES)) == 8
    assert 'red star' in CLASSES and 'striped blue ground' in CLASSES


def test_unseen_combinations_form_a_latin_square():
    things = [name.split() for name in UNSEEN_CLASSES if name in THING_CLASSES]
    assert sorted(c for c, _ in things) == sorted(COLOURS)
    assert sorted(s for _, s in things) == sorted(SHAPES)
    stuff = [name.split() for name in UNSEEN_CLASSES if name in STUFF_CLASSES]
    assert sorted(c for _, c, _ in stuff) == sorted(COLOURS)
    assert {t for t, _, _ in stuff} == set(TEXTURES)


def test_every_word_of_an_unseen_name_occurs_in_seen_names_of_its_kind():
    for kind in (THING_CLASSES, STUFF_CLASSES):
        seen = {word for n in SEEN_CLASSES if n in kind for word in n.split()}
        unseen = {word for n in UNSEEN_CLASSES if n in kind for word in n.split()}
        assert unseen <= seen


def test_palette_is_distinct_and_looks_like_the_class():
    palette = np.array(make_palette())
    assert palette.shape == (104, 3) and palette.min() >= 0 and palette.max() <= 255
    assert len({tuple(rgb) for rgb in palette}) == 104
    base = np.array(list(RGB.values()), dtype=float)
    hues = base - base.mean(1, keepdims=True)
    hues /= np.linalg.norm(hues, axis=1, keepdims=True)
    own = palette - palette.mean(1, keepdims=True)
    nearest = (own @ hues.T).argmax(1)
    for name, index in zip(CLASSES, nearest, strict=True):
        assert COLOURS[index] in name.split()


def test_training_images_hold_seen_combinations_only():
    drawn = {name for scene in scenes('train', 2000) for name in names_in(scene)}
    assert drawn == set(SEEN_CLASSES)


@pytest.mark.parametrize('split', ['val', 'test'])
@pytest.mark.parametrize('kind', ['things', 'grounds'])
def test_half_of_the_combinations_in_other_splits_are_unseen(split, kind):
    drawn = [p.name for scene in scenes(split, 400) for p in getattr(scene, kind)]
    share = np.mean([name in UNSEEN_CLASSES for name in drawn])
    assert 0.42 < share < 0.58


def test_neither_colour_nor_shape_alone_tells_things_of_a_image_apart():
    images = scenes('train', 300)
    for part in ('colour', 'shape'):
        shared = [
            any(
                getattr(a, part) == getattr(b, part) and a.name != b.name
                for a in scene.things
                for b in scene.things
            )
            for scene in images
        ]
        assert np.mean(shared) > 0.3


def test_scenes_have_two_to_four_things_and_one_or_two_different_grounds():
    for scene in scenes('val', 200):
        assert 2 <= len(scene.things) <= 4
        assert 1 <= len({ground.name for ground in scene.grounds}) <= 2
        assert (scene.border is not None) == (len(scene.grounds) == 2)


def test_seed_split_and_index_all_matter_and_nothing_else():
    scene = compose_scene(3, 'val', 7)
    assert scene == compose_scene(3, 'val', 7)
    others = [(4, 'val', 7), (3, 'test', 7), (3, 'val', 8)]
    assert all(scene != compose_scene(*other) for other in others)
    first, again = render_scene(scene), render_scene(compose_scene(3, 'val', 7))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ('args', 'match'),
    [((0, 'dev', 0), "unknown split 'dev'"), ((-1, 'val', 0), 'negative')],
)
def test_bad_scene_arguments_are_named(args, match):
    with pytest.raises(ValueError, match=match):
        compose_scene(*args)


def test_labels_are_exactly_what_the_caption_names():
    for scene in scenes('val', 60):
        image, labels = render_scene(scene)
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
        assert labels.shape == (SIZE, SIZE) and labels.dtype == np.uint8
        visible = {CLASSES[i] for i in np.unique(labels) if i != IGNORE_LABEL}
        assert visible == set(names_in(scene))
        assert (IGNORE_LABEL in labels) <= bool(scene.strokes)


def test_things_are_large_enough_to_be_learned():
    for scene in scenes('train', 60):
        _, labels = render_scene(scene)
        for name in {thing.name for thing in scene.things}:
            rows, columns = np.nonzero(labels == LABELS[name])
            assert max(np.ptp(rows), np.ptp(columns)) >= 22


def test_pixels_have_the_colour_their_label_names():
    base = np.array(list(RGB.values()), dtype=float)
    hits = []
    for scene in scenes('train', 30):
        image, labels = render_scene(scene)
        for thing in scene.things:
            x, y = (int(v) for v in thing.centre)
            if labels[y, x] != LABELS[thing.name]:  # a hole
                continue
            patch = image[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))
            nearest = np.abs(base - patch).sum(1).argmin()
            hits.append(COLOURS[nearest] == thing.colour)
    assert len(hits) > 30 and np.mean(hits) > 0.97


def test_stuff_is_paler_than_things_and_things_have_a_dark_outline():
    image, labels = render_scene(compose_scene(0, 'train', 0))
    saturation = image.max(2).astype(int) - image.min(2)
    is_thing = labels < len(THING_CLASSES)
    core = cv2.erode(is_thing.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    ground = (labels >= len(THING_CLASSES)) & (labels != IGNORE_LABEL)
    assert saturation[core].mean() > saturation[ground].mean() + 20
    edge = is_thing & (cv2.erode(is_thing.astype(np.uint8), np.ones((3, 3))) == 0)
    assert image[edge].mean() < image[core].mean() - 25


def test_shapes_are_distinct_and_centred():
    grid = np.linspace(-1.4, 1.4, 141)
    y, x = np.meshgrid(grid, grid, indexing='ij')
    masks = {name: SHAPE_DISTANCE[name](x, y) < 0 for name in SHAPES}
    for name, mask in masks.items():
        assert not mask[0].any() and not mask[:, 0].any(), name
        assert abs(x[mask].mean()) < 0.3 and abs(y[mask].mean()) < 0.3, name
        for other in SHAPES:
            iou = (mask & masks[other]).sum() / (mask | masks[other]).sum()
            assert other == name or iou < 0.85, (name, other)


def test_signed_distances_have_unit_slope_outside():
    grid = np.linspace(-1.4, 1.4, 281)
    y, x = np.meshgrid(grid, grid, indexing='ij')
    for name, distance in SHAPE_DISTANCE.items():
        values = distance(x, y)
        slope = np.hypot(*np.gradient(values, grid[1] - grid[0]))
        near = (values > 0.02) & (values < 0.3)
        assert np.median(slope[near]) == pytest.approx(1, abs=0.02), name


def test_textures_differ_and_stay_between_the_two_tones():
    grid = np.linspace(0, 6, 300)
    v, u = np.meshgrid(grid, grid, indexing='ij')
    patterns = [PATTERN[name](u, v) for name in TEXTURES]
    assert all(np.abs(p).max() <= 1 for p in patterns)
    for i, a in enumerate(patterns):
        for b in patterns[:i]:
            assert np.abs(a - b).mean() > 0.3


def test_captions_count_and_name_things_in_english():
    texts = [describe_scene(scene) for scene in scenes('train', 400)]
    assert any(text.startswith('two ') for text in texts)
    for text, scene in zip(texts, scenes('train', 400), strict=True):
        things, _, grounds = text.partition(' over ')
        assert grounds == ' and '.join(ground.name for ground in scene.grounds)
        counts = dict(a=1, an=1, two=2, three=3, four=4)
        phrases = things.replace(' and ', ', ').split(', ')
        assert sum(counts[phrase.split()[0]] for phrase in phrases) == len(scene.things)
        assert ('an orange' in text) == any(
            phrase.startswith('an orange') for phrase in phrases
        )
        assert 'a orange' not in text and 'crosss' not in text


def test_layout_and_content(root):
    for split, size in zip(SPLITS, SIZES, strict=True):
        files = [f'{i:05d}.png' for i in range(size)]
        for folder in ('images', 'annotations'):
            found = sorted(p.name for p in (root / folder / split).iterdir())
            assert found == files
        captions = json.loads((root / f'captions_{split}.json').read_text())
        assert [image['file_name'] for image in captions['images']] == files
        texts = [annotation['caption'] for annotation in captions['annotations']]
        assert texts == [
            describe_scene(compose_scene(5, split, i)) for i in range(size)
        ]
    classes = json.loads((root / 'classes.json').read_text())
    assert tuple(classes['classes']) == CLASSES
    assert tuple(classes['unseen']) == UNSEEN_CLASSES

    image, labels = render_scene(compose_scene(5, 'val', 2))
    bgr = cv2.imread(str(root / 'images/val/00002.png'))
    np.testing.assert_array_equal(bgr[..., ::-1], image)
    stored = cv2.imread(str(root / 'annotations/val/00002.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, labels)


def test_second_call_touches_nothing(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob('*')}
    assert write_shapes(root, seed=5, sizes=SIZES) == 0
    assert before == {p: p.stat().st_mtime_ns for p in root.rglob('*')}


@pytest.mark.parametrize(
    ('path', 'drawn'),
    [
        ('images/train/00003.png', 1),
        ('annotations/test/00001.png', 1),
        ('captions_val.json', 0),
        ('classes.json', 0),
        ('manifest.json', sum(SIZES)),
    ],
)
@pytest.mark.parametrize('damage', ['truncate', 'remove'])
def test_damage_is_found_and_mended(tmp_path, root, path, drawn, damage):
    write_shapes(tmp_path, seed=5, sizes=SIZES)
    victim = tmp_path / path
    if damage == 'truncate':
        victim.write_bytes(victim.read_bytes()[:40])
    else:
        victim.unlink()
    assert write_shapes(tmp_path, seed=5, sizes=SIZES) == drawn
    assert read_all(tmp_path) == read_all(root)
    assert write_shapes(tmp_path, seed=5, sizes=SIZES) == 0


def test_other_settings_replace_the_whole_set(tmp_path, root):
    write_shapes(tmp_path, seed=4, sizes=(8, 4, 2))
    assert write_shapes(tmp_path, seed=5, sizes=SIZES) == sum(SIZES)
    assert read_all(tmp_path) == read_all(root)


def test_the_same_files_from_several_processes(tmp_path):
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        write_shapes(folder, seed=1, sizes=(70, 2, 2), workers=workers)
    assert read_all(tmp_path / '1') == read_all(tmp_path / '2')


def test_foreign_images_are_not_deleted_but_named(tmp_path):
    foreign = tmp_path / 'images/train/cat.png'
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b'mine')
    with pytest.raises(FileExistsError, match=r'cat\.png does not belong'):
        write_shapes(tmp_path, sizes=SIZES)
    assert foreign.read_bytes() == b'mine'


@pytest.mark.parametrize(
    ('kwargs', 'match'),
    [
        (dict(sizes=(1, 0, 1)), '3 positive numbers'),
        (dict(sizes=(1, 1)), '3 positive numbers'),
        (dict(seed=-1), 'seed must not be negative'),
        (dict(workers=0), 'workers must be at least 1'),
    ],
)
def test_bad_settings_are_named(tmp_path, kwargs, match):
    with pytest.raises(ValueError, match=match):
        write_shapes(tmp_path / 'new', **kwargs)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('split', SPLITS)
def test_config_loads_every_split(root, split):
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/shapes.py')
    dataset = dict(cfg[f'{split}_dataloader'].dataset, data_root=str(root))
    dataset = DATASETS.build(dataset)
    assert len(dataset) == SIZES[SPLITS.index(split)]
    assert tuple(dataset.metainfo['classes']) == CLASSES
    assert tuple(dataset.metainfo['seen_classes']) == SEEN_CLASSES
    assert len(dataset.metainfo['palette']) == 104
    item = dataset[1]
    labels = item['data_samples'].gt_sem_seg.data
    assert item['inputs'].shape == (3, SIZE, SIZE) and labels.shape == (1, SIZE, SIZE)
    wanted = render_scene(compose_scene(5, split, 1))[1]
    if split == 'train':  # flipped or not
        assert torch.equal(labels[0].unique(), torch.from_numpy(wanted).unique().long())
    else:
        np.testing.assert_array_equal(labels[0].numpy(), wanted)


def test_captions_are_read_by_the_caption_data_set(root):
    dataset = COCOCaptionsDataset(
        data_root=str(root),
        ann_file='captions_val.json',
        data_prefix=dict(img_path='images/val'),
    )
    assert len(dataset) == SIZES[1]
    info = dataset.get_data_info(1)
    assert info['caption'] == describe_scene(compose_scene(5, 'val', 1))
    assert Path(info['img_path']).is_file()


def test_a_missing_set_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'tools/make_shapes\.py --out'):
        ShapesDataset(
            data_root=str(tmp_path),
            data_prefix=dict(img_path='images/val', seg_map_path='annotations/val'),
        )


@pytest.fixture(scope='module')
def controls():
    return load_tool('tools/analysis/shapes_controls.py')


@pytest.fixture(scope='module')
def samples():
    """Images and labels as the controls tool loads them, without files."""
    pairs = [render_scene(scene) for scene in scenes('val', 80)]
    return [
        (torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(labels).long())
        for image, labels in pairs
    ]


def test_truth_scores_100_and_finer_grids_allow_more(controls, samples):
    truth = controls.score(samples, lambda image, label: label.clamp(max=103))
    ceilings = [
        float(controls.score(samples, controls.grid_ceiling(stride))['mIoU'])
        for stride in (1, 4, 8)
    ]
    assert float(truth['mIoU']) == ceilings[0] == 100
    assert 100 > ceilings[1] > ceilings[2] > 70


def test_colour_alone_does_not_solve_the_set(controls, samples):
    colours = controls.mean_colours(samples)
    anywhere = controls.score(samples, controls.colour_only(colours))
    given = controls.score(samples, controls.colour_only_given_classes(colours))
    assert float(anywhere['mIoU']) < 25
    assert float(anywhere['mIoU']) < float(given['mIoU']) - 20


def test_mean_and_nearest_colours(controls):
    image = torch.tensor([[[0, 10, 99]], [[0, 20, 99]], [[0, 30, 99]]])
    label = torch.tensor([[3, 3, IGNORE_LABEL]])
    colours = controls.mean_colours([(image, label)])
    assert colours[3].tolist() == [5, 10, 15]
    assert colours.isnan().all(1).sum() == 103
    assert controls.nearest_colour(image, colours).tolist() == [[3, 3, 3]]


def test_a_stride_that_does_not_divide_the_image_is_named(controls, samples):
    with pytest.raises(ValueError, match='stride 5 does not divide'):
        controls.grid_ceiling(5)(*samples[0])


def test_command_lines(tmp_path, capsys):
    out = tmp_path / 'shapes'
    make = ('tools/make_shapes.py', '--out', out, '--sizes', 2, 12)
    run_tool(*make, 2)
    assert 'drew 16 of 16 images' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='positive numbers'):
        run_tool(*make, 0)
    run_tool('tools/analysis/shapes_controls.py', '--data-root', out)
    table = capsys.readouterr().out
    assert 'val: 12 images' in table
    assert 'grid ceiling, stride 7' in table
