"""Two gloo processes train and test as one process with the same whole batch."""

from functools import partial

import pytest
import torch
from processes import run_processes
from tiny_run import evaluate, largest_difference


def saved(tiny_config, name, step):
    path = tiny_config.parent / name / f'iter_{step}.pth'
    return torch.load(path, weights_only=True)


def test_weights_after_four_steps_are_those_of_one_process(tiny_config, alone, of_two):
    first, second = of_two
    assert all(torch.equal(first[key], second[key]) for key in first)
    difference = largest_difference(alone, first)
    print(f'largest difference of weights: {difference:.1e}')
    assert difference < 2e-6
    # against what training has moved, in every part of the model
    start = torch.load(tiny_config.parent / 'start.pth', weights_only=True)
    for part in ('backbone', 'text_encoder', 'decode_head'):
        own = [key for key in start if key.startswith(part)]
        moved = max(float((start[key] - alone[key]).abs().max()) for key in own)
        print(f'{part} has moved by {moved:.1e}')
        assert moved > 1e-3


def test_checkpoint_is_that_of_one_model_and_knows_its_seed(tiny_config, alone, of_two):
    checkpoint = saved(tiny_config, 'of_two', 4)
    assert checkpoint['state_dict'].keys() == alone.keys()
    assert checkpoint['meta']['seed'] == 5
    # written by the first process alone
    names = sorted(path.name for path in (tiny_config.parent / 'of_two').iterdir())
    runs = [name for name in names if name[0].isdigit()]
    assert names == [*runs, 'iter_2.pth', 'iter_4.pth', 'last_checkpoint', 'tiny.py']
    assert len(runs) == 1


@pytest.mark.parametrize('images', [1, 5])
def test_metrics_are_exactly_those_of_one_process(tiny_config, alone, images):
    """DefaultSampler repeats images where two processes cannot share them evenly.

    The checkpoint lacks a part, which brings its own weights.
    """
    folder = tiny_config.parent
    state = {k: v for k, v in alone.items() if not k.startswith('text_encoder.')}
    torch.save(state, folder / 'without_text.pth')
    whole = str(folder / 'alone' / 'iter_4.pth')
    options = {
        'load_from': str(folder / 'without_text.pth'),
        'model.text_encoder.init_cfg': dict(
            type='Pretrained', checkpoint=whole, prefix='text_encoder.'
        ),
        'test_dataloader.dataset.indices': images,
    }
    run = partial(evaluate, tiny_config, folder / 'test', **options)
    (expected,) = run_processes(1, run)
    first, second = run_processes(2, partial(run, launcher='pytorch'))
    assert first == second == expected
    assert {'mIoU', 'boundary/mIoU'} < set(expected)
    assert 0 < expected['mIoU'] < 100
