"""Switches change the speed; the labels stay, but for what bfloat16 rounds."""

import copy
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch._inductor import cpu_vec_isa
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.acceleration import accelerate
from mmseg_ovs.apis import find_config
from tests.tool_loader import load_tool

SYSTEMS = (
    'text-similarity_dinov3-tiny_shapes-112x112',
    'ovs-dino_tiny_shapes-112x112',
    'dinov3-seg_tiny_shapes-112x112',
)
chain = load_tool('tools/speed/chain.py')
WORDS = ['red disc', 'blue bar', 'yellow sand']


def build(name):
    """A shipped model with random weights, all of which count, and one template."""
    return make(Config.fromfile(find_config(name)).model)


def make(cfg):
    """The same of the config of a model, which need not read words."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    chain.without_weights(cfg)
    if text := cfg.get('text_encoder'):
        text = text.get('encoder', text)  # SAN's is inside
        for key in ('pretrained', 'cache_dir'):
            text.pop(key, None)
        text.templates = 'single'
    model = MODELS.build(cfg).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
    if text:
        model.set_vocabulary(WORDS)
    return model


@pytest.fixture(scope='module', params=SYSTEMS)
def system(request):
    return build(request.param)


@pytest.fixture(scope='module')
def images():
    return torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def scores(model, images):
    return model._forward(images)


def switched(system, **switches):
    model = copy.deepcopy(system)
    accelerate(model, **switches)
    return model


def products_and_convolutions(model, images):
    """Floating point operations of a backbone in matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.backbone(images)
    counts = counter.get_flop_counts()['Global']
    products = counts.get(torch.ops.aten.addmm, 0)
    return products, counts.get(torch.ops.aten.convolution, 0)


def test_onednn_is_equal(system, images):
    model = switched(system, onednn=True)
    torch.testing.assert_close(
        scores(model, images), scores(system, images), rtol=1e-4, atol=1e-4
    )
    # Another route has run. Whether its library rounds otherwise depends on the
    # processor, so the results may be equal bit by bit.
    before, after = (products_and_convolutions(m, images) for m in (system, model))
    assert after[0] < before[0]
    assert after[1] > before[1]


def test_onednn_reaches_every_large_product_of_the_backbone(images):
    model = switched(build(SYSTEMS[0]), onednn=True)
    products, convolutions = products_and_convolutions(model, images)
    assert products < 0.01 * (products + convolutions)


def test_onednn_reaches_the_layers_of_other_packages():
    x, calls = torch.randn(256, 8), []
    layer = nn.Linear(8, 8)
    layer.register_forward_hook(lambda *_: calls.append(True))
    model = nn.Sequential(nn.Sequential(layer), nn.Dropout()).eval()
    expected, keys = model(x), list(model.state_dict())
    accelerate(model, onednn=True)
    torch.testing.assert_close(model(x), expected)
    assert len(calls) == 2 and not model.training and not model[0][0].training
    assert list(model.state_dict()) == keys and model[0][0].weight is layer.weight
    model.backbone = model[0]
    products, convolutions = products_and_convolutions(model, x)
    assert convolutions and not products


def test_bf16_is_for_our_segmentor():
    with pytest.raises(TypeError, match='OpenVocabSegmentor, not with Sequential'):
        accelerate(nn.Sequential(nn.Linear(8, 8)), bf16=True)


def test_onednn_sees_weights_that_are_loaded_later(images):
    model = switched(build(SYSTEMS[0]), onednn=True)
    before = scores(model, images)
    state = {k: v * 1.5 if v.ndim == 2 else v for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    plain = build(SYSTEMS[0])
    plain.load_state_dict(state)
    assert not torch.allclose(scores(model, images), before)
    torch.testing.assert_close(
        scores(model, images), scores(plain, images), rtol=1e-4, atol=1e-4
    )


def test_bfloat16_is_close(system, images):
    expected = scores(system, images)
    ours = scores(switched(system, bf16=True), images)
    assert ours.dtype == torch.float32
    assert 0 < (ours - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.skipif(shutil.which('g++') is None, reason='needs g++')
def test_compiled_is_equal(monkeypatch):
    # Trying out vector instructions and translating headers in advance take longest.
    monkeypatch.setattr(cpu_vec_isa, 'valid_vec_isa_list', list)
    model = build(SYSTEMS[0])
    model.backbone.blocks = model.backbone.blocks[:1]
    model.backbone.out_indices = (0,)
    image = torch.randn(1, 3, 56, 56)
    expected = scores(model, image)
    accelerate(model, compile=True)
    with (
        torch._dynamo.config.patch(error_on_recompile=True),
        torch._inductor.config.patch(cpp_cache_precompile_headers=False),
    ):
        ours = scores(model, image)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    compiled = torch._dynamo.utils.counters['stats']['unique_graphs']
    assert compiled == 1  # no break inside the trunk


def test_switches_act_together(images):
    system = build(SYSTEMS[0])
    model = switched(system, onednn=True, bf16=True)
    assert model.acceleration == ('onednn', 'bf16')
    expected, ours = scores(system, images), scores(model, images)
    assert 0 < (ours - expected).abs().max() < 0.1 * expected.abs().max()
