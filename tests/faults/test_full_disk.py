"""No room for a file: a clear error, and what was there before stays."""

import pytest

from mmseg_ovs.pseudo_masks.shards import WHOLE, Item, describe_shard, write_shard
from mmseg_ovs.utils import replacing


def test_the_error_names_the_file_and_the_old_one_stays(tmp_path, small_disk):
    path = tmp_path / 'weights.bin'
    path.write_bytes(b'old')
    with (
        pytest.raises(OSError, match=r'weights\.bin cannot be written, there is no'),
        replacing(path) as temporary,
    ):
        temporary.write_bytes(bytes(200_000))
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_stage_goes_on_when_there_is_room_again(tmp_path, small_disk):
    items = [Item(n, f'{n}.png', {}) for n in range(30)]
    facts = describe_shard('toy', WHOLE, len(items), {})

    def make(item):
        return dict(text=f'{item.image_id}' * 5000)

    with pytest.raises(OSError, match=r'shard-00001-of-00001\.jsonl cannot be written'):
        write_shard(tmp_path / 'small', facts, items, make)
    small_disk()
    done = write_shard(tmp_path / 'small', facts, items, make)
    whole = write_shard(tmp_path / 'large', facts, items, make)
    assert done.read_bytes() == whole.read_bytes()
