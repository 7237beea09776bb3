"""Shards: the same bytes however often they are interrupted; damage is found."""

import json
import re

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from mmseg_ovs.jobs import JobError
from mmseg_ovs.pseudo_masks import DamagedShardError, Part, PseudoMaskError
from mmseg_ovs.pseudo_masks.errors import UnreadableImageError
from mmseg_ovs.pseudo_masks.shards import (
    Item,
    describe_shard,
    find_shards,
    interleave,
    load_shard,
    open_stage,
    write_shard,
)

ITEMS = [Item(n, f'{n}.jpg', dict(nouns=[n, 'é'])) for n in (7, 3, 5, 11)]
FACTS = describe_shard('boxes', Part(), len(ITEMS), dict(threshold=0.3))


class Work:
    """Makes records, and counts them."""

    def __init__(self, unreadable=()):
        self.unreadable = unreadable
        self.made = []

    def __call__(self, item):
        self.made.append(item.image_id)
        if item.image_id in self.unreadable:
            raise UnreadableImageError('is no image')
        return dict(value=item.image_id**2)


@pytest.fixture
def whole(tmp_path):
    return write_shard(tmp_path / 'whole', FACTS, ITEMS, Work()).read_bytes()


def test_records_are_whole(tmp_path):
    path = write_shard(tmp_path, FACTS, ITEMS, Work())
    records = load_shard(path, FACTS)
    assert [record['image_id'] for record in records] == [7, 3, 5, 11]
    assert [record['value'] for record in records] == [49, 9, 25, 121]
    assert path.name == 'shard-00001-of-00001.jsonl'
    assert not list(tmp_path.glob('*.part'))


def test_what_is_made_is_on_the_disk_at_once(tmp_path):
    part = tmp_path / 'shard-00001-of-00001.jsonl.part'
    lines = []

    def make(item):
        lines.append(part.read_bytes().count(b'\n'))
        return dict(value=0)

    write_shard(tmp_path, FACTS, ITEMS, make)
    assert lines == [1, 2, 3, 4]


def test_torn_at_any_byte_the_rest_is_the_same(tmp_path, whole):
    part = tmp_path / 'shard-00001-of-00001.jsonl.part'
    for end in range(len(whole) + 1):
        part.write_bytes(whole[:end])
        work = Work()
        path = write_shard(tmp_path, FACTS, ITEMS, work)
        assert path.read_bytes() == whole
        lines = whole[:end].count(b'\n')
        assert work.made == [7, 3, 5, 11][max(lines - 1, 0) :]
        path.unlink()


def test_stopped_by_an_exception_goes_on_from_there(tmp_path, whole):
    class Stops(Work):
        def __call__(self, item):
            if item.image_id == 5:
                raise MemoryError
            return super().__call__(item)

    with pytest.raises(MemoryError):
        write_shard(tmp_path, FACTS, ITEMS, Stops())
    with pytest.raises(PseudoMaskError, match=r'\.part is not finished'):
        find_shards(tmp_path)
    work = Work()
    assert write_shard(tmp_path, FACTS, ITEMS, work).read_bytes() == whole
    assert work.made == [5, 11]


def test_a_line_in_the_middle_of_a_part_that_does_not_fit_is_made_again(
    tmp_path, whole
):
    lines = whole.splitlines(keepends=True)
    part = tmp_path / 'shard-00001-of-00001.jsonl.part'
    part.write_bytes(b''.join([lines[0], lines[1], lines[3], lines[2]]))
    work = Work()
    assert write_shard(tmp_path, FACTS, ITEMS, work).read_bytes() == whole
    assert work.made == [3, 5, 11]


def test_a_finished_shard_is_left_alone(tmp_path):
    path = write_shard(tmp_path, FACTS, ITEMS, Work())
    before, work = path.stat().st_mtime_ns, Work()
    write_shard(tmp_path, FACTS, ITEMS, work)
    assert not work.made
    assert path.stat().st_mtime_ns == before


def test_unreadable_images_are_noted_and_tried_again_alone(tmp_path, whole):
    path = write_shard(tmp_path, FACTS, ITEMS, Work(unreadable=[3]))
    noted = load_shard(path)[1]
    assert noted['error'] == 'is no image'
    assert noted['file_name'] == '3.jpg'
    work = Work()
    assert write_shard(tmp_path, FACTS, ITEMS, work).read_bytes() == whole
    assert work.made == [3]


def test_a_record_is_made_again_when_its_input_changed(tmp_path):
    write_shard(tmp_path, FACTS, ITEMS, Work())
    changed = [*ITEMS[:2], Item(5, '5.jpg', dict(nouns=['other'])), ITEMS[3]]
    work = Work()
    write_shard(tmp_path, FACTS, changed, work)
    assert work.made == [5]


def test_a_damaged_shard_is_made_again(tmp_path, whole, capsys):
    path = tmp_path / 'shard-00001-of-00001.jsonl'
    path.write_bytes(whole[:-30])
    assert write_shard(tmp_path, FACTS, ITEMS, Work()).read_bytes() == whole
    assert 'it is made again' in capsys.readouterr().err


@pytest.mark.parametrize('suffix', ['', '.part'])
def test_another_setting_is_refused(tmp_path, whole, suffix):
    path = tmp_path / f'shard-00001-of-00001.jsonl{suffix}'
    path.write_bytes(whole)
    other = describe_shard('boxes', Part(), len(ITEMS), dict(threshold=0.4))
    with pytest.raises(JobError, match=r'another setting.*threshold'):
        write_shard(tmp_path, other, ITEMS, Work())
    assert path.read_bytes() == whole


def test_one_writer_at_a_time(tmp_path):
    with (
        FileLock(tmp_path / '.shard-00001-of-00001.jsonl.lock'),
        pytest.raises(JobError, match='another process'),
    ):
        write_shard(tmp_path, FACTS, ITEMS, Work())


def test_any_changed_byte_is_found(tmp_path, whole):
    path = tmp_path / 'shard-00001-of-00001.jsonl'
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedShardError, match=re.escape(str(path))):
            load_shard(path)


@pytest.mark.parametrize(
    'change',
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines, b'{}\n'],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: [],
        lambda lines: [b'[]\n'],
    ],
)
def test_lines_lost_or_added_are_found(tmp_path, whole, change):
    path = tmp_path / 'shard-00001-of-00001.jsonl'
    path.write_bytes(b''.join(change(whole.splitlines(keepends=True))))
    with pytest.raises(DamagedShardError, match=re.escape(str(path))):
        load_shard(path)
    path.unlink()
    with pytest.raises(DamagedShardError, match='cannot be opened'):
        load_shard(path)


@given(st.lists(st.integers()), st.integers(1, 6))
def test_parts_are_put_together_again(items, count):
    parts = [Part(number, count).of(items) for number in range(1, count + 1)]
    assert list(interleave([iter(part) for part in parts])) == items


@pytest.mark.parametrize('text', ['0/2', '3/2', '1/0', '1', 'a/b', '-1/2', '1/2/3', ''])
def test_parts_that_are_none(text):
    with pytest.raises(PseudoMaskError, match='shard'):
        Part.parse(text)


def stage(folder, count, setting=None):
    for number in range(1, count + 1):
        part = Part(number, count)
        items = part.of(ITEMS)
        facts = describe_shard('boxes', part, len(items), setting or {})
        write_shard(folder, facts, items, Work())


def test_a_stage_gives_images_in_order_for_any_partition(tmp_path):
    for count in (1, 2, 3, 6):  # the last: more shards than images
        stage(tmp_path / str(count), count)
        _, records = open_stage(tmp_path / str(count), 'boxes')
        assert [record['image_id'] for record in records] == [7, 3, 5, 11]


def test_incomplete_or_mixed_stages_are_refused(tmp_path):
    with pytest.raises(PseudoMaskError, match='no shards'):
        find_shards(tmp_path)
    stage(tmp_path, 3)
    second = tmp_path / 'shard-00002-of-00003.jsonl'
    third = tmp_path / 'shard-00003-of-00003.jsonl'
    content = second.read_bytes()

    second.unlink()
    with pytest.raises(PseudoMaskError, match=f'missing.*{second.name}'):
        open_stage(tmp_path, 'boxes')

    second.write_bytes(third.read_bytes())  # copied under a wrong name
    with pytest.raises(PseudoMaskError, match=f'{second.name} has a wrong name'):
        open_stage(tmp_path, 'boxes')

    second.write_bytes(content)
    with pytest.raises(PseudoMaskError, match='wrong name: it is shard 1/3 of boxes'):
        open_stage(tmp_path, 'masks')

    stage(tmp_path, 2)
    with pytest.raises(
        PseudoMaskError, match='different partitions.*of-00002.*of-00003'
    ):
        open_stage(tmp_path, 'boxes')


def test_shards_of_different_settings_are_refused(tmp_path):
    stage(tmp_path, 2, dict(threshold=1))
    path = tmp_path / 'shard-00002-of-00002.jsonl'
    path.unlink()
    other = describe_shard('boxes', Part(2, 2), 2, dict(threshold=2))
    write_shard(tmp_path, other, Part(2, 2).of(ITEMS), Work())
    with pytest.raises(JobError, match=f'{path.name}.*differs in: threshold'):
        open_stage(tmp_path, 'boxes')


def test_first_line_says_what_it_is(tmp_path):
    path = write_shard(tmp_path, FACTS, ITEMS, Work())
    first = json.loads(path.read_text().splitlines()[0])
    assert first['stage'] == 'boxes'
    assert first['shard'] == [1, 1]
    assert first['setting'] == dict(threshold=0.3)
