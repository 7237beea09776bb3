"""What holds for every module of the models, whatever its kind."""

import copy
import pickle
import re
from collections.abc import Sequence

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_ovs.models.utils import CheckpointError, PretrainedModule
from tests.tiny import make

BOTH = slice(2)


class ModuleTester:
    """Base of the testers of a kind: a new module is one entry of ``CONFIGS``.

    Attributes:
        CONFIGS: Configs by name. Tests run for each of them (argument ``cfg``), or for
            those that load weights by ``init_cfg`` (``pretrained_cfg``).
    """

    CONFIGS: dict[str, dict]

    def pytest_generate_tests(self, metafunc):
        pretrained = {
            name: cfg
            for name, cfg in self.CONFIGS.items()
            if issubclass(MODELS.get(cfg['type']), PretrainedModule)
        }
        for name, cfgs in (('cfg', self.CONFIGS), ('pretrained_cfg', pretrained)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, cfgs.values(), ids=cfgs)

    def run(self, module: nn.Module, batch: slice = BOTH) -> Sequence[Tensor]:
        """Outputs of the module for a part of two fixed inputs, batch first."""
        raise NotImplementedError

    @torch.no_grad()
    def test_a_batch_equals_its_parts(self, cfg):
        module = make(cfg)
        together = self.run(module)
        for i in range(2):
            alone = self.run(module, slice(i, i + 1))
            for one, both in zip(alone, together, strict=True):
                torch.testing.assert_close(one, both[i : i + 1], rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_copies_are_independent_and_give_the_same(self, cfg):
        module = make(cfg)
        expected = self.run(module)
        copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
        for parameter in module.parameters():
            parameter.zero_()
        for other in copies:
            for one, two in zip(self.run(other), expected, strict=True):
                assert torch.equal(one, two)

    def test_gradients_reach_what_is_trained(self, cfg):
        module = make(cfg).train()
        check_gradients(module, self.run(module))

    @torch.no_grad()
    def test_bfloat16_is_close(self, cfg):
        module = make(cfg)
        expected = self.run(module)
        with torch.autocast('cpu', torch.bfloat16):
            rounded = self.run(module)
        for one, two in zip(rounded, expected, strict=True):
            assert (one - two).abs().mean() < 0.06 * two.abs().mean()


class PretrainedModuleTester(ModuleTester):
    """Base of the testers of kinds of which some load weights by ``init_cfg``."""

    @torch.no_grad()
    def test_weights_load_strictly(self, pretrained_cfg, tmp_path):
        cfg = pretrained_cfg
        path = tmp_path / 'weights.pth'
        init_cfg = dict(type='Pretrained', checkpoint=str(path))

        def load(state):
            torch.save(dict(state_dict=state), path)
            module = MODELS.build(dict(cfg, init_cfg=init_cfg))
            module.init_weights()
            return module.eval()

        source = make(cfg)
        state = source.state_dict()
        for one, two in zip(self.run(load(state)), self.run(source), strict=True):
            assert torch.equal(one, two)

        *_, wrong, lost = state
        shape = tuple(state[wrong].shape)
        del state[lost]
        state.update({'surprise': torch.ones(1), wrong: torch.ones(7, 9)})
        with pytest.raises(CheckpointError, match='weights.pth does not fit') as error:
            load(state)
        for line in (
            f'1 missing: {re.escape(lost)}$',
            r'1 unexpected: (tower\.)?surprise$',
            rf'1 of another shape: {re.escape(wrong)}: checkpoint \(7, 9\), '
            rf'model {re.escape(str(shape))}$',
        ):
            assert re.search(line, str(error.value), re.MULTILINE), error.value


def check_gradients(module: nn.Module, outputs: Sequence[Tensor]) -> set[str]:
    """Gradients of outputs reach the trained parameters and no others; their names."""
    trained = {n for n, p in module.named_parameters() if p.requires_grad}
    outputs = [out for out in outputs if out.requires_grad]
    assert bool(outputs) == bool(trained)
    if trained:
        weights = (torch.linspace(-1, 2, out.numel()).view_as(out) for out in outputs)
        sum((out * w).sum() for out, w in zip(outputs, weights, strict=True)).backward()
    gradients = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    assert gradients.keys() == trained
    for name, gradient in gradients.items():
        assert gradient.isfinite().all() and gradient.any(), name
    return trained


def check_same_weights(one: nn.Module, other: nn.Module) -> None:
    """Two modules have the same state dict."""
    expected = other.state_dict()
    assert one.state_dict().keys() == expected.keys()
    for key, value in one.state_dict().items():
        assert torch.equal(value, expected[key]), key


def label_samples(labels: Tensor) -> list[SegDataSample]:
    """Samples of label maps (B, H, W)."""
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def check_learns_two_halves(model: nn.Module) -> None:
    """A segmentor learns to tell the dark half of an image from the bright one."""
    labels = torch.zeros(2, 56, 56, dtype=torch.long)
    labels[..., 28:] = 2
    image = torch.where(labels == 2, 2.0, -2.0)[:, None].expand(-1, 3, -1, -1)
    samples = label_samples(labels)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2)
    history = []
    for _ in range(15):
        loss = model(image, samples, mode='loss')['decode.loss_ce']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0], history


class LargestTensor(TorchDispatchMode):
    """Number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.elements = max(self.elements, leaf.numel())
        return result
