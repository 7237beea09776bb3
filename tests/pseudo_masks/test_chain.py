"""From captions to the merged file, with small models of the real classes."""

import json
import shutil

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tiny_models import CAPTIONS

from mmseg_ovs.jobs import JobError
from mmseg_ovs.pseudo_masks import (
    DamagedShardError,
    GroundingDINODetector,
    Part,
    PseudoMaskError,
    draw_masks,
    filter_nouns,
    find_boxes,
    merge,
    read_captions,
    tag_captions,
)
from mmseg_ovs.pseudo_masks.filtering import read_nouns
from mmseg_ovs.pseudo_masks.images import read_image
from mmseg_ovs.pseudo_masks.shards import (
    Item,
    describe_shard,
    digest,
    load_shard,
    open_shard,
    write_shard,
)


class Chain:
    """All stages on one set of images."""

    def __init__(self, images, tagger, detector, segmenter):
        self.captions, self.folder = images
        self.tagger, self.detector, self.segmenter = tagger, detector, segmenter

    def nouns(self, out, count=1):
        items = read_captions(self.captions, self.folder)
        for number in range(1, count + 1):
            tag_captions(items, self.tagger, out, Part(number, count))
        filter_nouns(out, min_images=1)

    def draw(self, out, count=1):
        for number in range(count, 0, -1):
            part = Part(number, count)
            find_boxes(out, self.folder, self.detector, part)
            draw_masks(out, self.folder, self.segmenter, part)

    def run(self, out, count=1):
        self.nouns(out, count)
        self.draw(out, count)
        return merge(out)


@pytest.fixture(scope='module')
def chain(images, tagger, detector, segmenter):
    return Chain(images, tagger, detector, segmenter)


@pytest.fixture(scope='module')
def finished(chain, tmp_path_factory):
    """A finished run that no test may change."""
    out = tmp_path_factory.mktemp('run')
    chain.run(out, count=2)
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / 'run')


@pytest.fixture
def own(chain, tmp_path):
    """The chain on images of its own, which a test may change."""
    folder = shutil.copytree(chain.folder, tmp_path / 'images')
    return Chain(
        (chain.captions, folder), chain.tagger, chain.detector, chain.segmenter
    )


def test_what_comes_out(finished, chain):
    merged = COCO(finished / 'pseudo_masks.json')
    names = {c['id']: c['name'] for c in merged.dataset['categories']}
    assert {'dog', 'ball', 'man', 'cat', 'tree', 'frisbee'} <= set(names.values())
    assert not {'photo', 'dogs', 'men', 'red'} & set(names.values())

    nouns = {image['id']: image['nouns'] for image in read_nouns(finished)['images']}
    boxes = {}
    for number in (1, 2):
        _, records = open_shard(finished / 'boxes' / Part(number, 2).file_name, 'boxes')
        boxes.update({record['image_id']: record['boxes'] for record in records})
    assert list(merged.imgs) == list(nouns) == list(range(100, 107))
    assert [image['captions'] for image in merged.imgs.values()] == CAPTIONS

    masks = 0
    for image_id, entry in merged.imgs.items():
        image = read_image(chain.folder, entry['file_name'])
        assert image.shape[:2] == (entry['height'], entry['width'])
        annotations = merged.imgToAnns[image_id]
        masks += len(annotations)
        found = {box['noun'] for box in boxes[image_id]}
        assert found <= set(nouns[image_id])
        assert {a['category_id'] for a in annotations} <= found
        for annotation in annotations:
            own = [
                box
                for box in boxes[image_id]
                if box['noun'] == annotation['category_id']
            ]
            (expected,) = chain.segmenter(image, [np.float32([b['box'] for b in own])])
            mask = merged.annToMask(annotation)
            # boxes alone may round otherwise where a logit is 0
            assert (mask != expected).mean() < 0.01
            assert annotation['area'] == mask.sum() > 0
            assert annotation['score'] == max(box['score'] for box in own)
            rle = coco_mask.encode(np.asfortranarray(mask))
            assert annotation['bbox'] == coco_mask.toBbox(rle).tolist()
    report = merged.dataset['info']['report']
    assert report['masks'] == masks > len(CAPTIONS)
    assert report['images'] == len(CAPTIONS)
    assert report['unreadable'] == []
    assert report['without_nouns'] == 1  # 'A photo of the happy'
    assert 103 in report['without_masks']
    setting = merged.dataset['info']['setting']
    assert setting['min_images'] == 1
    assert setting['box_threshold'] == 0.5
    assert {'detector_weights', 'segmenter_weights', 'tagger', 'captions'} <= set(
        setting
    )


@pytest.mark.parametrize('count', [1, 3, 10])
def test_the_partition_leaves_no_trace(chain, finished, tmp_path, count):
    chain.run(tmp_path, count)
    expected = (finished / 'pseudo_masks.json').read_bytes()
    assert (tmp_path / 'pseudo_masks.json').read_bytes() == expected


def test_an_unreadable_image_in_the_middle(own, finished, tmp_path):
    out = tmp_path / 'out'
    broken = own.folder / '002.png'
    content = broken.read_bytes()
    for bad in (b'', b'no image', content[:10]):
        broken.write_bytes(bad)
        report = own.run(out)
        (noted,) = report['unreadable']
        assert noted.pop('error').startswith('is no image, or a damaged one')
        assert noted == dict(id=102, file_name='002.png')
    merged = COCO(out / 'pseudo_masks.json')
    assert list(merged.imgs) == [100, 101, 103, 104, 105, 106]
    assert not merged.imgToAnns[102]
    whole = COCO(finished / 'pseudo_masks.json')
    assert [a['segmentation'] for a in merged.imgToAnns[104]] == [
        a['segmentation'] for a in whole.imgToAnns[104]
    ]

    # Mended, a second run leaves no trace of it.
    broken.write_bytes(content)
    assert own.run(out)['unreadable'] == []
    expected = (finished / 'pseudo_masks.json').read_bytes()
    assert (out / 'pseudo_masks.json').read_bytes() == expected


def test_a_image_lost_between_the_stages(own, tmp_path):
    own.nouns(tmp_path)
    (own.folder / '001.png').unlink()
    own.draw(tmp_path)
    (lost,) = merge(tmp_path)['unreadable']
    assert lost['file_name'] == '001.png'
    assert 'No such file' in lost['error']


def test_a_image_of_another_size_than_its_boxes(own, tmp_path):
    out = tmp_path / 'out'
    own.nouns(out)
    find_boxes(out, own.folder, own.detector)
    cv2.imwrite(str(own.folder / '001.png'), np.zeros((9, 8, 3), np.uint8))
    draw_masks(out, own.folder, own.segmenter)
    (changed,) = merge(out)['unreadable']
    assert changed['error'].startswith('is 9 x 8 now, and was 43 x 58')


def test_images_are_turned_as_training_turns_them(tmp_path):
    from mmcv.transforms import LoadImageFromFile
    from PIL import Image

    pixels = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(30, 20, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(pixels).save(tmp_path / 'a.jpg', exif=exif, quality=100)
    Image.fromarray(pixels[..., 0]).save(tmp_path / 'b.png')
    for name, size in (('a.jpg', (20, 30)), ('b.png', (30, 20))):
        ours = read_image(tmp_path, name)
        assert ours.shape == (*size, 3)
        load = LoadImageFromFile(imdecode_backend='cv2')
        theirs = load(dict(img_path=str(tmp_path / name)))['img']
        np.testing.assert_array_equal(ours, theirs[..., ::-1])


def test_boxes_need_nouns_and_masks_need_boxes(chain, tmp_path):
    with pytest.raises(PseudoMaskError, match='run the filter stage first'):
        find_boxes(tmp_path, chain.folder, chain.detector)
    chain.nouns(tmp_path)
    with pytest.raises(PseudoMaskError, match=r'boxes/shard-00001-of-00001.*opened'):
        draw_masks(tmp_path, chain.folder, chain.segmenter)
    with pytest.raises(PseudoMaskError, match='no shards in .*masks'):
        merge(tmp_path)


def test_boxes_of_another_threshold_are_not_mixed(run, chain, detector):
    other = GroundingDINODetector(detector.model, detector.processor, threshold=0.6)
    with pytest.raises(JobError, match='differs in: box_threshold'):
        find_boxes(run, chain.folder, other, Part(1, 2))


def test_nouns_filtered_again_do_not_fit_the_masks(run):
    filter_nouns(run, min_images=2)
    with pytest.raises(JobError, match='min_images. Other nouns'):
        merge(run)


def refuses(run, words, error=PseudoMaskError):
    """Merging fails and leaves the file as it was."""
    before = (run / 'pseudo_masks.json').read_bytes()
    with pytest.raises(error, match=words):
        merge(run)
    assert (run / 'pseudo_masks.json').read_bytes() == before
    assert not list(run.glob('.pseudo_masks*'))


def test_merge_finds_a_missing_or_unfinished_shard(run):
    path = run / 'masks' / 'shard-00002-of-00002.jsonl'
    content = path.read_bytes()
    path.unlink()
    refuses(run, f'missing in .*{path.name}')
    path.with_name(path.name + '.part').write_bytes(content)
    refuses(run, f'{path.name}.part is not finished')


def test_merge_finds_a_corrupt_shard(run):
    path = run / 'masks' / 'shard-00001-of-00002.jsonl'
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    refuses(run, str(path), DamagedShardError)


def rewrite(path, change):
    """A shard whose records are changed, digest and all."""
    facts, records = open_shard(path, 'masks')
    records = change(list(records))
    part = Part(*facts['shard'])
    items = [Item(r['image_id'], r['file_name'], {}) for r in records]
    results = iter(records)
    path.unlink()
    facts = describe_shard('masks', part, len(items), facts['setting'])
    write_shard(path.parent, facts, items, lambda item: next(results))


def with_mask(**values):
    def change(records):
        first = next(record for record in records if record['masks'])
        first['masks'][0].update(values)
        return records

    return change


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda r: [r[0], *r[2:]], 'holds image 104 .* where image 102 is exp'),
        (lambda r: [*r[:-1], r[0]], 'image 100 is twice'),
        (lambda r: [*r, dict(r[0], image_id=9)], 'image 9 .* no further one'),
        (lambda r: [r[1], r[0], *r[2:]], 'image 102 .* where image 100'),
        (lambda r: [dict(r[0], file_name='x.png'), *r[1:]], r'100 \(x.png\)'),
        (with_mask(counts='5'), 'mask of noun .* of image 100 .* broken'),
        (with_mask(noun=999), r'image 100 .* masks of nouns \[999'),
    ],
)
def test_merge_finds_what_is_lost_doubled_or_broken(run, change, words):
    rewrite(run / 'masks' / 'shard-00001-of-00002.jsonl', change)
    refuses(run, words)


def test_merge_finds_the_end_missing(chain, run):
    """Both shards lack their last image: all that is there fits."""
    for number in (1, 2):
        rewrite(run / 'masks' / Part(number, 2).file_name, lambda r: r[:-1])
    refuses(run, r'image 105 \(005.png\) and what follows is missing')


def test_records_remember_what_they_were_made_from(finished):
    boxes = load_shard(finished / 'boxes' / 'shard-00001-of-00002.jsonl')
    masks = load_shard(finished / 'masks' / 'shard-00001-of-00002.jsonl')
    for box, mask in zip(boxes, masks, strict=True):
        payload = dict(size=box['size'], boxes=box['boxes'])
        assert mask['source'] == digest([box['file_name'], payload])


def test_the_file_is_plain_json_of_a_line_an_entry(finished):
    text = (finished / 'pseudo_masks.json').read_text()
    content = json.loads(text)
    entries = sum(len(content[k]) for k in ('images', 'categories', 'annotations'))
    assert len(text.splitlines()) == entries + 4
