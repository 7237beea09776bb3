"""Batches of windows fill the memory that is there, and no more."""

import pytest
import torch

from mmseg_ovs.models.segmentors.window_batches import WindowBatches
from mmseg_ovs.utils import OpenVocabError


class Device:
    """Memory of a device on which a window takes ``window`` bytes.

    A batch of which less than the room is free is refused, as CUDA does.
    """

    def __init__(self, room, window, hidden=0):
        self.room, self.window, self.hidden = room, window, hidden
        self.sizes = []

    def free(self):
        return self.room

    def measure(self, call):
        result = call()
        return result, self.window * self.sizes[-1]

    def taken(self):
        return self.window - 1536

    def run(self, batch):
        if len(batch) * self.window + self.hidden > self.room:
            raise torch.cuda.OutOfMemoryError('Tried to allocate 1.50 KiB. GPU 0')
        self.sizes.append(len(batch))
        return [10 * view for view in batch]


def run(device, count, size=None, known=None, kind='a'):
    batches = WindowBatches(size, device, {} if known is None else known)
    results = batches.run(list(range(count)), device.run, kind, (448, 640))
    assert [r for part in results for r in part] == [10 * i for i in range(count)]
    return device.sizes


def test_the_first_is_measured_and_the_others_fill_the_memory():
    assert run(Device(room=1000, window=100), count=20) == [1, 7, 7, 5]


def test_what_is_known_stays_known():
    device, known = Device(room=1000, window=100), {}
    run(device, 3, known=known)
    device.sizes = []
    assert run(device, 7, known=known) == [7]
    device.sizes = []
    assert run(device, 2, known=known, kind='b') == [1, 1]


def test_a_batch_is_halved_where_memory_is_short_nevertheless():
    # fragments that nobody counts
    assert run(Device(room=1000, window=100, hidden=500), count=8) == [1, 3, 3, 1]


def test_one_window_too_many():
    """Says what would fit: 0.7 of the free memory, memory as the area."""
    device = Device(room=2 << 20, window=8 << 20)
    message = r'448 x 640 pixels .* \(2 MiB free, at least 8 MiB needed\).* 176 x 256'
    for known in ({}, dict(a=8 << 20)):  # at first, or when others took the memory
        with pytest.raises(OpenVocabError, match=message) as caught:
            run(device, count=2, known=known)
        assert isinstance(caught.value.__cause__, torch.cuda.OutOfMemoryError)


def test_a_size_is_kept_to():
    assert run(Device(room=1000, window=100), count=7, size=3) == [3, 3, 1]
    message = 'window_batch_size=20 windows of 448 x 640 pixels do not fit.* to None'
    with pytest.raises(OpenVocabError, match=message):
        run(Device(room=1000, window=100), count=20, size=20)


def test_one_by_one_on_a_cpu():
    device = Device(room=1000, window=100)
    batches = WindowBatches.on(torch.device('cpu'), None, {})
    batches.run([1, 2, 3], device.run, 'a', (32, 32))
    assert device.sizes == [1, 1, 1]
