"""Files written in one piece or not at all."""

import pytest

from mmseg_ovs.utils import replacing


def test_the_file_appears_in_a_new_folder(tmp_path):
    path = tmp_path / 'new' / 'a.json'
    with replacing(path) as temporary:
        temporary.write_text('done')
        assert not path.exists() and temporary.suffix == '.json'
    assert path.read_text() == 'done'
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text('half')
            raise RuntimeError('interrupted')

    with pytest.raises(RuntimeError, match='interrupted'):
        write_half()
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]
