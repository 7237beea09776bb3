"""Pseudo-masks against labels: numbers by hand, files, pictures, bad input."""

import csv
import json
import math

import cv2
import numpy as np
import pytest

from mmseg_ovs.pseudo_masks import Audit, LabelMasks, PseudoMaskError, audit_sheet
from mmseg_ovs.pseudo_masks.class_words import classes_of
from tests.instance_file import encode, instance_file
from tests.tool_loader import load_tool

main = load_tool('tools/pseudo_masks/audit.py').main
SIZE = (10, 20)


def rows(first, last):
    mask = np.zeros(SIZE, np.uint8)
    mask[first:last] = 1
    return mask


# Image 0: half of a dog, walls; 1: a dog that is not there; 2: without labels.
MASKS = [
    (*SIZE, dict(puppy=rows(0, 4), wall=rows(4, 10), joy=rows(0, 1))),
    (*SIZE, dict(dog=rows(0, 5))),
    (*SIZE, dict(dog=rows(0, 5))),
]
SCORES = (0.9, 0.6, 0.5, 0.4, 0.8)
NOUNS = ['dog', 'puppy', 'wall', 'joy']
THINGS = [(*SIZE, dict(dog=rows(0, 8))), (*SIZE, dict(cat=rows(5, 10)))]
STUFF = [(*SIZE, {'wall-brick': rows(6, 8), 'wall-wood': rows(8, 10)})]


@pytest.fixture
def content():
    content = instance_file(MASKS, NOUNS)
    for annotation, score in zip(content['annotations'], SCORES, strict=True):
        annotation['score'] = score
    return content


@pytest.fixture
def labels():
    things = instance_file(THINGS, ['dog', 'cat', 'bird'])
    box = [[0, 5, 20, 5, 20, 10, 0, 10]]
    things['annotations'][1]['segmentation'] = box  # polygons, as COCO has them
    stuff = instance_file(STUFF, ['wall-brick', 'wall-wood', 'other'])
    return [things, stuff]


@pytest.fixture
def files(tmp_path, content, labels):
    """Writes the files; gives their paths."""

    def write():
        paths = [tmp_path / f'{name}.json' for name in ('masks', 'things', 'stuff')]
        for path, value in zip(paths, (content, *labels), strict=True):
            path.write_text(json.dumps(value))
        return paths[0], paths[1:]

    return write


@pytest.fixture
def audit(files):
    def build(**own):
        masks, labels = files()
        return Audit(masks, LabelMasks(labels), own)

    return build


def test_numbers_by_hand(audit):
    found = audit()
    assert found.images == ['0.png', '1.png'] and found.unmatched == {'joy': 1}
    assert found.classes == dict(
        dog=['dog'], puppy=['dog'], wall=['wall-brick', 'wall-wood']
    )
    by_noun = {row['noun']: row for row in found.by_noun()}
    puppy, wall, dog = (by_noun[n] for n in ('puppy', 'wall', 'dog'))
    assert (puppy['iou'], puppy['precision'], puppy['recall']) == (0.5, 1, 0.5)
    assert (wall['iou'], wall['precision'], wall['recall']) == (4 / 6, 4 / 6, 1)
    assert (dog['iou'], dog['precision'], dog['wrong']) == (0, 0, 1)
    classes = {row['class']: row for row in found.by_class()}
    assert set(classes) == {'dog', 'wall-brick', 'wall-wood'}  # no noun names 'cat'
    assert classes['dog']['coverage'] == 0.5 and classes['dog']['missed'] == 0
    assert found.worst_images() == ['1.png', '0.png']


def test_bins_show_what_a_minimum_score_keeps(audit):
    low, middle, high = audit().by_score([0, 0.5, 0.7])
    assert [row['masks'] for row in (low, middle, high)] == [1, 1, 1]
    assert [row['kept_masks'] for row in (low, middle, high)] == [3, 2, 1]
    assert (low['wrong'], low['kept_wrong'], middle['kept_wrong']) == (1, 1 / 3, 0)
    # of 12 labelled rows of dog and wall: 4 + 4, then 4 + 4, then 4
    shares = [row['kept_coverage'] for row in (low, middle, high)]
    assert shares == pytest.approx([8 / 12, 8 / 12, 4 / 12])
    assert high['kept_iou'] == 0.5


def test_masks_of_one_class_cover_it_once(audit, content):
    content['annotations'][3].update(image_id=0)  # a dog over the puppy, worse
    (dog,) = (row for row in audit().by_class() if row['class'] == 'dog')
    assert dog['coverage'] == 5 / 8
    content['annotations'][3]['segmentation']['counts'] = encode(rows(9, 10))
    content['annotations'][0].update(category_id=3)  # no puppy any more
    (dog,) = (row for row in audit().by_class() if row['class'] == 'dog')
    assert (dog['images'], dog['missed'], dog['coverage']) == (1, 1, 0)


def test_crowds_are_neither_hit_nor_miss(audit, labels):
    crowd = dict(labels[0]['annotations'][0], iscrowd=1, id=9, image_id=1)
    crowd['segmentation'] = dict(size=list(SIZE), counts=[0, 200])  # all of it, plain
    labels[0]['annotations'].append(crowd)
    found = audit()
    assert [pair.noun for pair in found.pairs] == ['puppy', 'wall']
    assert found.by_class()[0]['images'] == 1


def test_what_a_file_does_not_label_is_not_wrong(audit, content):
    """The stuff file lacks image 1, so a wall there may be right."""
    content['annotations'][3]['category_id'] = NOUNS.index('wall')
    assert [pair.noun for pair in audit().pairs] == ['puppy', 'wall']


def test_nouns_name_classes():
    names = ['person', 'dining table', 'table', 'wall-brick', 'wall-other', 'wallet']
    nouns = ['man', 'table', 'wall', 'person', 'joy']
    assert classes_of(nouns, names) == dict(
        man=['person'],
        table=['dining table', 'table'],
        wall=['wall-brick', 'wall-other'],
        person=['person'],
    )
    own = dict(joy=['person'], man=[])
    assert classes_of(['man', 'joy'], names, own) == dict(joy=['person'])
    with pytest.raises(ValueError, match=r"'joy' cannot be of \['people'\]"):
        classes_of([], names, dict(joy=['people']))


def test_the_command_writes_tables_and_pictures(files, tmp_path, capsys):
    masks, labels = files()
    for i in range(2):
        cv2.imwrite(str(tmp_path / f'{i}.png'), np.full((*SIZE, 3), 90, np.uint8))
    out = tmp_path / 'out'
    words = [str(masks), '--labels', *map(str, labels), '--out', str(out)]
    own = tmp_path / 'own.json'
    own.write_text('{"wall": []}')
    pictures = ['--images', str(tmp_path), '--sheets', '5']
    assert main([*words, *pictures, '--bins', '0.5', '--classes', str(own)]) == 0
    assert '2 masks compared in 2 of 3 images; 2 masks of 2 nouns' in (
        capsys.readouterr().out
    )
    with (out / 'scores.csv').open() as file:
        table = list(csv.DictReader(file))
    assert [float(row['score']) for row in table] == [0, 0.5]
    assert [float(row['kept_iou']) for row in table] == [0.25, 0.5]
    content = json.loads((out / 'audit.json').read_text())
    assert content['unmatched'] == dict(wall=1, joy=1)
    assert [row['noun'] for row in content['nouns']] == ['puppy', 'dog']
    names = [path.name for path in sorted((out / 'sheets').iterdir())]
    assert names == ['001_1.png', '002_0.png']
    with pytest.raises(SystemExit, match='pictures of an earlier run'):
        main([*words, *pictures])


def test_pictures_have_masks_and_labels_in_the_colours_of_classes(audit):
    sheet = audit_sheet(audit(), '0.png', np.zeros((*SIZE, 3), np.uint8))
    assert sheet.shape[1] > 3 * 400
    # the first rows are of the dog in both maps
    top = sheet[72, [2 * 407 - 20, 3 * 407 - 20]]  # right, below joy
    assert (top[0] == top[1]).all() and top[0].any()


def test_a_file_without_scores_is_an_error(audit, content):
    del content['annotations'][4]['score']
    with pytest.raises(PseudoMaskError, match=r'masks.json, annotation 4 has no "sco'):
        audit()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda c, t: c['images'][0].update(height=20, width=10),
            'annotation 0 is a m',
        ),
        (lambda c, t: t['images'][0].update(height=9), r'annotation 0 cannot be used'),
        (lambda c, t: t['images'][1].update(height=9, width=8), r'1.png is \(10, 20\)'),
        (lambda c, t: t.pop('images'), 'things.json is not in COCO'),
        (
            lambda c, t: [i.update(file_name='x') for i in c['images']],
            'nothing of .* 0 of its 1 images are in the labels, and 3 of 4 nouns',
        ),
    ],
)
def test_bad_files(audit, content, labels, change, message):
    change(content, labels[0])
    with pytest.raises(PseudoMaskError, match=message):
        audit()


def test_a_label_too_small_for_a_pixel_is_not_there(audit, labels):
    labels[0]['annotations'][0]['segmentation'] = [[3, 3, 3.1, 3, 3.1, 3.1]]
    found = audit()
    assert 'dog' not in {row['class'] for row in found.by_class()}
    assert {row['noun']: row['wrong'] for row in found.by_noun()}['puppy'] == 1


@pytest.mark.parametrize('wrong', [('--bins', 'nan'), ('--sheets', '-1')])
def test_numbers_that_mean_nothing(files, tmp_path, wrong, capsys):
    masks, labels = files()
    words = [str(masks), '--labels', *map(str, labels), '--out', str(tmp_path / 'out')]
    with pytest.raises(SystemExit):
        main([*words, *wrong])
    assert wrong[0] in capsys.readouterr().err.splitlines()[-1]


def test_nothing_in_a_bin_is_no_number(audit):
    empty = audit().by_score([0, 0.95])[1]
    assert empty['masks'] == 0 and math.isnan(empty['iou'])
    assert empty['kept_coverage'] == 0
