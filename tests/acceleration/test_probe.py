"""The faster library is found by trying, unless a switch names it."""

import argparse
import time

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.acceleration import (
    accelerate,
    add_switches,
    choose_onednn,
    chosen_switches,
    probe,
)
from mmseg_ovs.models.decode_heads.cost_aggregation.aggregator import Aggregator
from mmseg_ovs.models.layers import Linear
from mmseg_ovs.models.necks import AnyUp

measure = probe.onednn_is_faster  # conftest puts another in its place


@pytest.mark.parametrize('slow', [True, False, None])
def test_the_faster_library_is_found(slow, monkeypatch):
    class SlowLinear(Linear):
        def forward(self, x):
            # Threads that earlier tests left behind must not shorten the wait.
            stop = time.thread_time() + (0.02 if self.onednn is slow else 0.01)
            while time.thread_time() < stop:
                pass
            return x

    monkeypatch.setattr(probe, 'Linear', SlowLinear)
    expected = None if slow is None else not slow
    assert measure.__wrapped__(1) is expected


def test_it_is_tried_once_and_leaves_no_trace():
    state = torch.get_rng_state()
    first, start = measure(torch.get_num_threads()), time.thread_time()
    assert measure(torch.get_num_threads()) is first
    assert time.thread_time() - start < 0.01
    assert torch.equal(torch.get_rng_state(), state)


def test_only_a_model_on_a_cpu_is_asked_about(monkeypatch):
    monkeypatch.setattr(probe, 'onednn_is_faster', lambda threads: True)
    assert choose_onednn(nn.Linear(2, 2))
    assert choose_onednn(nn.Linear(2, 2, device='meta')) is None
    assert choose_onednn(nn.Identity()) is None


@pytest.mark.parametrize('onednn', [True, False])
@pytest.mark.parametrize('tried', [True, False])
def test_switch_and_probe_reach_cost_aggregation(onednn, tried, monkeypatch):
    monkeypatch.setattr(probe, 'onednn_is_faster', lambda threads: onednn)
    head = Aggregator(8, channels=8, num_heads=2, decoder_dims=(16, 16))
    accelerate(head, onednn=None if tried else onednn)
    used = {m.onednn for m in head.modules() if isinstance(m, Linear)}
    assert used == {onednn}
    assert head.acceleration == ('onednn' if onednn else 'no-onednn',)


def test_encoders_of_anyup_are_equal_in_both_libraries():
    neck, image, features = AnyUp(), torch.rand(1, 3, 40, 48), torch.rand(1, 16, 5, 6)
    with torch.no_grad():
        in_onednn = neck.upsample(image, features, (40, 48))
        with FlopCounterMode(display=False) as counter:
            accelerate(neck, onednn=False)
            in_mkl = neck.upsample(image, features, (40, 48))
    torch.testing.assert_close(in_mkl, in_onednn)
    counts = counter.get_flop_counts()['Global']
    assert counts[torch.ops.aten.mm] > counts[torch.ops.aten.convolution]


@pytest.mark.parametrize(
    ('words', 'switches'),
    [
        ([], {}),
        (['--onednn', '--bf16'], dict(onednn=True, bf16=True)),
        (['--no-onednn', '--compile'], dict(onednn=False, compile=True)),
    ],
)
def test_switches_of_a_command(words, switches):
    parser = argparse.ArgumentParser()
    add_switches(parser)
    assert chosen_switches(parser.parse_args(words)) == switches
