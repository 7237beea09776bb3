"""What holds for every backbone."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder

from tests.models.module_tester import (
    BOTH,
    PretrainedModuleTester,
    check_gradients,
    check_learns_two_halves,
)
from tests.tiny import BACKBONES, WIDTH, make


def images(model, rows=3, columns=5):
    """Two images of so many patches."""
    sides = model.patch_size * rows, model.patch_size * columns
    return torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(1))


class TestBackbones(PretrainedModuleTester):
    CONFIGS = BACKBONES

    def run(self, module, batch=BOTH):
        return module(images(module)[batch])

    @torch.no_grad()
    def test_returns_a_tuple_of_maps(self, cfg):
        model = make(cfg, out_indices=(0, -1))
        maps = self.run(model)
        assert type(maps) is tuple
        neck = [model.out_channels] if hasattr(model, 'neck') else []
        expected = [(2, channels, 3, 5) for channels in [WIDTH, WIDTH, *neck]]
        assert [m.shape for m in maps] == expected
        assert not torch.equal(maps[0], maps[1])
        assert torch.equal(maps[-1], self.run(make(cfg))[-1])

    @torch.no_grad()
    def test_sides_that_are_no_multiple_of_the_patch(self, cfg):
        fits = {fit: make(cfg, fit=fit) for fit in ('pad', 'resize', 'crop', 'error')}
        size = fits['pad'].patch_size
        odd = images(fits['pad'], 4, 6)[..., 5:, 3:]
        for fit, same in (
            ('pad', F.pad(odd, (0, 3, 0, 5))),
            ('resize', F.interpolate(odd, (4 * size, 6 * size), mode='bicubic')),
            ('crop', odd[..., : 3 * size, : 5 * size]),
        ):
            assert torch.equal(fits[fit](odd)[-1], fits[fit](same)[-1]), fit
        height, width = odd.shape[-2:]
        with pytest.raises(ValueError, match=f'{height} x {width} are no multiples of'):
            fits['error'](odd)
        small = odd[..., : size - 1, :]
        assert fits['pad'](small)[-1].shape[-2:] == (1, 6)
        with pytest.raises(ValueError, match='has a side smaller than one patch'):
            fits['crop'](small)

    @pytest.mark.parametrize(
        ('frozen', 'blocks'), [(-1, {0, 1}), (0, {0, 1}), (1, {1}), (2, set())]
    )
    def test_freezing(self, cfg, frozen, blocks):
        model = make(cfg, frozen_stages=frozen).train()
        trained = check_gradients(model, self.run(model))
        if frozen < 0:
            assert len(trained) == len(list(model.parameters()))
        else:
            last = 'neck' if hasattr(model, 'neck') else 'norm'
            parts = tuple(f'blocks.{i}.' for i in blocks) + (f'{last}.',) * bool(blocks)
            names = [name for name, _ in model.named_parameters()]
            assert trained == {name for name in names if name.startswith(parts)}
            assert getattr(model, last).training is bool(blocks)
            assert not model.patch_embed.training
        assert [block.training for block in model.blocks] == [0 in blocks, 1 in blocks]

    def test_gradient_checkpointing_changes_nothing(self, cfg):
        models = [make(cfg, with_cp=with_cp).train() for with_cp in (False, True)]
        for model in models:
            check_gradients(model, self.run(model))
        for one, two in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ('wrong', 'message'),
        [
            (dict(out_indices=(2,)), 'out_indices.* use 0..1 or -2..-1'),
            (dict(fit='stretch'), "fit has to be one of .* 'stretch'"),
            (dict(frozen_stages=3), 'frozen_stages has to be in -1..2'),
            (dict(frozen_stages=-2), 'frozen_stages has to be in -1..2'),
        ],
    )
    def test_wrong_arguments(self, cfg, wrong, message):
        with pytest.raises(ValueError, match=message):
            make(cfg, **wrong)

    def test_trains_under_a_stock_head(self, cfg):
        channels = [m.shape[1] for m in self.run(make(cfg, out_indices=(0, 1)))]
        head = dict(
            type='UPerHead',
            in_channels=channels,
            in_index=list(range(len(channels))),
            channels=16,
            num_classes=3,
            norm_cfg=dict(type='BN'),
            pool_scales=(1, 2),
        )
        model = EncoderDecoder(
            backbone=dict(cfg, out_indices=(0, 1)),
            decode_head=head,
            test_cfg=dict(mode='whole'),
        )
        model.init_weights()
        check_learns_two_halves(model)
