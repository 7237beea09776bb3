"""Milliseconds of each transform of a data set."""

import pytest

from mmseg_ovs.datasets.shapes import write_shapes
from tests.tool_loader import ROOT, load_tool

CONFIG = ROOT / 'configs/text_similarity/text-similarity_mit-tiny_shapes-112x112.py'


@pytest.mark.parametrize('split', ['train', 'test'])
def test_every_transform_is_timed(tmp_path, capsys, split):
    write_shapes(tmp_path, sizes=(3, 2, 2))
    root = f'{split}_dataloader.dataset.data_root={tmp_path}'
    workers = f'{split}_dataloader.num_workers=2'
    arguments = ['--split', split, '--samples', '5', '--cfg-options', root, workers]
    load_tool('tools/speed/profile_loading.py').main([str(CONFIG), *arguments])
    title, *rows, total, rate = capsys.readouterr().out.splitlines()
    assert f'{split}: 5 samples of' in title
    assert rows[0].startswith('LoadImageFromFile')
    assert rows[-1].startswith('PackSegInputs')
    milliseconds = [float(row.split()[1]) for row in rows]
    assert sum(milliseconds) == pytest.approx(float(total.split()[1]), abs=0.05)
    one, both = (int(part.split()[0]) for part in rate.split(', '))
    assert both == pytest.approx(2 * one, abs=1)
    assert one == pytest.approx(1000 / float(total.split()[1]), rel=0.1)
