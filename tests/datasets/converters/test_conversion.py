"""Runs of a converter: interrupted, repeated, with missing and broken sources."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from mmseg_ovs.datasets.converters import Conversion, ConversionError, run
from mmseg_ovs.datasets.converters.conversion import Converted, Sample
from mmseg_ovs.jobs import JobError
from tests.tool_loader import children, is_alive, run_process

SIZE = (12, 9)


def convert(sample):
    """Labels by number; image 13 is broken."""
    if sample.source == 13:
        raise ValueError('an unlucky number')
    labels = np.full(SIZE[::-1], sample.source)
    labels[0] = 65535
    return Converted(labels)


def convert_some(sample):
    """Wait for the kill after a part."""
    if sample.source >= 40:
        threading.Event().wait()
    return convert(sample)


def convert_and_die(sample):
    os.kill(os.getpid(), signal.SIGKILL)


def convert_wrongly(sample):
    return Converted(np.full(SIZE[::-1], 300 if sample.source == 5 else 1))


def plan(root: Path, count=20, **changes) -> Conversion:
    (root / 'images').mkdir(parents=True, exist_ok=True)
    samples = []
    for number in range(count):
        image = root / 'images' / f'{number:03d}.png'
        if not image.exists():
            Image.new('L', SIZE).save(image)
        labels = root / 'labels' / image.name
        samples.append(Sample(image.stem, image, labels, number))
    conversion = Conversion(
        name='toy_val',
        root=root,
        num_classes=299,
        ignore_index=65535,
        expected=count,
        setting=dict(source='numbers'),
        samples=samples,
        missing={},
        convert=convert,
        list_file=root / 'lists' / 'val.txt',
    )
    return dataclasses.replace(conversion, **changes)


def contents(root: Path) -> dict[str, bytes]:
    """All files but locks."""
    files = (path for path in root.rglob('*') if path.is_file())
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in files
        if path.suffix != '.lock'
    }


def test_a_whole_run(tmp_path):
    report = run(plan(tmp_path, 10))
    assert report.complete and report.converted == report.made == 10
    labels = np.array(Image.open(tmp_path / 'labels' / '007.png'))
    assert labels[0, 0] == 65535 and (labels[1:] == 7).all()
    assert (tmp_path / 'lists' / 'val.txt').read_text().split() == [
        f'{number:03d}' for number in range(10)
    ]
    written = json.loads((tmp_path / 'toy_val.json').read_text())
    assert written['complete'] and written['converted'] == 10
    assert len(written['pixels']) == 299
    assert written['pixels'][:11] == [12 * 8] * 10 + [0]
    assert written['unlabelled_pixels'] == 10 * 12
    assert '10 of 299 classes occur, 11.1% of the pixels' in str(report)


def test_the_checksum_list_is_sha256sums(tmp_path):
    run(plan(tmp_path, 3))
    run_process('sha256sum', '--check', '--strict', 'toy_val.sha256', cwd=tmp_path)
    lines = (tmp_path / 'toy_val.sha256').read_text().splitlines()
    digest = hashlib.sha256((tmp_path / 'labels' / '002.png').read_bytes()).hexdigest()
    assert lines[2] == f'{digest}  labels/002.png' and len(lines) == 3


@pytest.mark.parametrize('workers', [1, 2])
def test_killed_and_started_again_gives_the_same(tmp_path, workers):
    reference = plan(tmp_path / 'whole', 100)
    run(reference)
    part = plan(tmp_path / 'killed', 100, convert=convert_some)
    context = multiprocessing.get_context('fork')
    process = context.Process(target=run, args=(part, workers))
    process.start()
    folder = tmp_path / 'killed' / 'labels'
    deadline = time.monotonic() + 60
    while len(list(folder.glob('0*.png'))) < 20:
        assert time.monotonic() < deadline and process.is_alive()
        time.sleep(0.005)
    pool = children(process.pid)
    assert len(pool) == (workers if workers > 1 else 0)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while any(map(is_alive, pool)):
        assert time.monotonic() < deadline, 'workers outlive their parent'
        time.sleep(0.005)
    # What a kill in the midst of writing leaves behind.
    (folder / f'.099-{"0" * 32}.tmp.png').write_bytes(b'half')
    state = json.loads((tmp_path / 'killed' / 'toy_val.json').read_text())
    assert state['complete'] is False

    report = run(plan(tmp_path / 'killed', 100))
    assert 0 < report.made < 81  # and no orphaned worker holds the lock
    assert contents(tmp_path / 'killed') == contents(tmp_path / 'whole')
    assert run(plan(tmp_path / 'killed', 100)).made == 0
    assert contents(tmp_path / 'killed') == contents(tmp_path / 'whole')


def test_several_processes_give_the_same(tmp_path):
    run(plan(tmp_path / 'one', 70), workers=1)
    run(plan(tmp_path / 'two', 70), workers=2)
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')


def test_a_killed_worker_is_reported(tmp_path):
    with pytest.raises(JobError, match='worker was killed'):
        run(plan(tmp_path, 70, convert=convert_and_die), workers=2)


def test_damaged_label_maps_are_made_again(tmp_path):
    run(plan(tmp_path))
    before = contents(tmp_path)
    labels = tmp_path / 'labels'
    (labels / '003.png').write_bytes(b'')
    (labels / '004.png').unlink()
    # A good label map, but not the one that was written.
    (labels / '005.png').write_bytes((labels / '006.png').read_bytes())
    assert run(plan(tmp_path)).made == 4 - 1
    assert contents(tmp_path) == before


def test_missing_and_broken_samples_are_reported_and_the_rest_is_done(tmp_path):
    report = run(plan(tmp_path, 20, missing={'777': 'no 777.mat'}, expected=25))
    assert not report.complete
    assert report.converted == 19
    assert report.failed == {'013': 'ValueError: an unlucky number'}
    names = (tmp_path / 'lists' / 'val.txt').read_text().split()
    assert len(names) == 19 and '013' not in names
    written = json.loads((tmp_path / 'toy_val.json').read_text())
    assert not written['complete']
    assert written['missing'] == {'777': 'no 777.mat'}
    assert written['failed'] == report.failed
    for line in ('1 missing:', '777: no 777.mat', '1 failed:', '4 more belong to'):
        assert line in str(report)


def test_more_samples_are_converted_when_they_come(tmp_path):
    first = plan(tmp_path, 12)
    part = dataclasses.replace(first, samples=first.samples[:5], missing={'x': 'y'})
    assert not run(part).complete
    report = run(first)
    assert report.complete and report.made == 7


def test_wrong_labels_do_not_stay(tmp_path):
    report = run(plan(tmp_path, 8, convert=convert_wrongly))
    assert 'the value 300' in report.failed['005']
    assert not (tmp_path / 'labels' / '005.png').exists()
    assert report.converted == 7


def test_a_broken_sample_is_found(tmp_path):
    conversion = plan(tmp_path, 5)
    (tmp_path / 'images' / '002.png').write_bytes(b'<html>404</html>')
    report = run(conversion)
    assert 'image cannot be read' in report.failed['002']
    assert not (tmp_path / 'labels' / '002.png').exists()


def test_foreign_label_maps_are_left_alone(tmp_path):
    conversion = plan(tmp_path, 5)
    foreign = tmp_path / 'labels' / '001.png'
    foreign.parent.mkdir()
    foreign.write_bytes(b'of somebody')
    with pytest.raises(ConversionError, match=r'1 label maps .*001\.png'):
        run(conversion)
    assert foreign.read_bytes() == b'of somebody'
    assert len(list(foreign.parent.iterdir())) == 1


def test_label_maps_of_another_setting_are_not_mixed(tmp_path):
    run(plan(tmp_path, 5))
    before = contents(tmp_path)
    with pytest.raises(JobError, match=r'differs in: source\..*toy_val\.json'):
        run(plan(tmp_path, 5, setting=dict(source='others')))
    assert contents(tmp_path) == before


def test_two_runs_at_once_are_refused(tmp_path):
    conversion = plan(tmp_path, 5)
    with (
        FileLock(tmp_path / '.toy_val.lock'),
        pytest.raises(JobError, match='another process'),
    ):
        run(conversion)


def test_nothing_to_convert(tmp_path):
    missing = {'001': 'no 001.mat'}
    with pytest.raises(ConversionError, match=r'nothing to convert.*no 001\.mat'):
        run(plan(tmp_path, 0, missing=missing))
