"""What is said about the keys of a converted file."""

import torch

from mmseg_ovs.models.utils.key_report import key_report


def test_renamed_joined_and_computed_keys_are_told():
    q, k, kept, unused = (torch.zeros(i + 1) for i in range(4))
    published = {'layer.0.q': q, 'layer.0.k': k, 'norm': kept, 'mask_token': unused}
    published['layer.1.fc'], published['layer.2.fc'] = torch.ones(1), torch.ones(2)
    taken = {
        'blocks.0.qk': torch.cat([q, k]),
        'norm': kept,
        'blocks.1.fc': published['layer.1.fc'],
        'blocks.2.fc': published['layer.2.fc'],
    }
    first, *lines = key_report(published, taken).splitlines()
    assert first == (
        '6 keys read, 4 taken: 1 as they are, 2 renamed, '
        '3 joined, folded or left out, 1 computed'
    )
    told = [line.strip() for line in lines]
    assert 'layer.*.fc -> blocks.*.fc  x 2' in told
    assert {'layer.*.q', 'layer.*.k', 'mask_token', 'blocks.*.qk'} <= set(told)


def test_long_lists_are_cut():
    published = {f'key_{chr(97 + i)}': torch.zeros(1) for i in range(20)}
    assert '... and 8 more kinds' in key_report(published, {})
