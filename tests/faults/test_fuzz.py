"""Random broken inputs of ``predict`` and ``tools/test.py``; ``fuzz.py`` runs more."""

import errno

import numpy as np
import pytest
from fuzz import WORDS, Fuzz
from PIL import Image

from mmseg_ovs.predict import main
from mmseg_ovs.utils import exit_with_message


def test_nothing_is_lost_and_nothing_crashes(tmp_path):
    fuzz = Fuzz(tmp_path)
    fuzz.predict(119, 14)  # with a broken link
    fuzz.test(7, 6)
    assert not fuzz.faults
    assert fuzz.results and fuzz.named


def test_no_room_and_no_permission_are_one_line(tmp_path, small_disk):
    small_disk()
    fuzz, photo = Fuzz(tmp_path), tmp_path / 'noise.png'
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    options = [f'--config={fuzz.config}', *fuzz.options, f'--out={tmp_path}/out']
    small_disk(20_000)
    with pytest.raises(SystemExit, match='^error: .*cannot be written, there is no'):
        main([str(photo), *options, '--classes', *WORDS])
    small_disk()
    with pytest.raises(SystemExit, match='^error: .*denied'), exit_with_message():
        raise PermissionError(errno.EACCES, 'Permission denied', 'file')
    with pytest.raises(FileNotFoundError), exit_with_message():
        raise FileNotFoundError(errno.ENOENT, 'No such file', 'file')
