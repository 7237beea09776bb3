"""OVS-DINO's encoder, decoder and gate."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from tests.models.module_tester import check_gradients
from tests.tiny import BACKBONES, NECKS, VIT, WIDTH, shake

GATE = NECKS['structure decoder']['gate']


def encoder(**kwargs):
    return MODELS.build({**NECKS['structure encoder'], **kwargs})


def decoder(**kwargs):
    cfg = {**NECKS['structure decoder'], **kwargs}
    if 'gamma_init' not in kwargs:
        del cfg['gamma_init']
    return MODELS.build(cfg)


def maps(count=3):
    return tuple(torch.randn(2, WIDTH, 6, 5) for _ in range(count))


def test_the_encoder_fuses_refines_and_upsamples():
    inputs = maps()
    structure, semantic = encoder()(inputs)
    assert structure.shape == (2, 8, 12, 10)
    assert semantic is inputs[-1]
    assert encoder(scale_factor=1)(inputs)[0].shape == (2, 8, 6, 5)


@pytest.mark.parametrize('gate', ['softmax', 'sigmoid'])
@torch.no_grad()
def test_the_fusion_is_the_weighted_sum_of_normalised_projections(gate):
    neck = shake(encoder(gate=gate))
    inputs = maps()
    gates = neck.fusion.gates
    weights = gates.softmax(0) if gate == 'softmax' else gates.sigmoid()
    expected = 0
    for weight, layer, x in zip(weights, neck.fusion.projections, inputs, strict=False):
        projected = F.conv2d(x, layer.conv.weight)
        expected = expected + weight * F.group_norm(
            projected, 4, layer.norm.weight, layer.norm.bias
        )
    assert torch.allclose(neck.fusion(inputs[:-1]), expected, atol=1e-5)


@torch.no_grad()
def test_a_refinement_layer_adds_its_input_or_not():
    torch.manual_seed(1)
    with_input = encoder(num_refinements=1)
    torch.manual_seed(1)
    without = encoder(num_refinements=1, residual=False)
    x = torch.randn(1, 16, 5, 5)
    assert torch.allclose(with_input.refinement(x), x + without.refinement(x))


def test_the_encoder_says_how_many_maps_it_wants():
    with pytest.raises(ValueError, match='fuses 2 maps and hands on one more, got 2'):
        encoder()(maps(2))


@pytest.mark.parametrize('bad', [dict(gate='relu'), dict(gate=None)])
def test_unknown_gates_are_refused(bad):
    with pytest.raises(ValueError, match='gate has to be one of'):
        encoder(**bad)


@pytest.mark.parametrize('gamma', ['scalar', 'channel'])
def test_training_can_start_at_plain_dino_and_leave_it(gamma):
    necks = torch.nn.Sequential(encoder(), decoder(gamma=gamma, gamma_init=0))
    inputs = maps()
    structure, out = necks(inputs)
    assert torch.equal(out, inputs[-1])
    assert structure.shape == (2, 8, 12, 10)
    (out * torch.randn_like(out)).sum().backward()
    assert necks[1].gamma.grad.abs().sum() > 0
    torch.optim.SGD(necks.parameters(), lr=0.1).step()
    necks.zero_grad()
    (necks(inputs)[1] * torch.randn_like(out)).sum().backward()
    # from the second step on, the gradient reaches the first layer
    assert necks[0].fusion.projections[0].conv.weight.grad.abs().sum() > 0


def test_the_first_step_trains_encoder_and_gate():
    necks = torch.nn.Sequential(encoder(), decoder())
    assert necks[1].gamma == 1
    necks(maps())[1].square().sum().backward()
    for part in (necks[0].fusion, necks[1].gate):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters())


@torch.no_grad()
def test_the_gate_bounds_how_far_features_may_move():
    neck = shake(decoder(gamma_init=0.5))
    neck.gamma.fill_(0.5)
    inputs = torch.randn(2, 8, 12, 10), torch.randn(2, WIDTH, 6, 5)
    moved = neck(inputs)[1] - inputs[1]
    assert moved.abs().max() > 0
    assert (moved.abs() <= 0.5 * inputs[1].abs() + 1e-6).all()


@torch.no_grad()
def test_the_decoder_follows_its_formula():
    neck = shake(decoder())
    structure, semantic = torch.randn(2, 8, 12, 10), torch.randn(2, WIDTH, 7, 7)
    down = neck.compress(structure)
    assert down.shape == (2, WIDTH, 6, 5)
    modulation = F.interpolate(down, (7, 7), mode='bilinear')
    first = neck.gate.conv1
    hidden = F.conv2d(modulation, first.conv.weight, padding=1)
    hidden = F.gelu(F.group_norm(hidden, 4, first.norm.weight, first.norm.bias))
    second = neck.gate.conv2
    hidden = F.conv2d(hidden, second.conv.weight, padding=1)
    hidden = F.group_norm(hidden, 4, second.norm.weight, second.norm.bias)
    gate = torch.tanh(modulation + hidden)
    expected = semantic + neck.gamma * semantic * gate
    assert torch.allclose(neck((structure, semantic))[1], expected, atol=1e-5)


def test_a_separable_gate_has_a_ninth_of_the_weights():
    """Of the convolutions, that is; all of them learn."""
    plain, light = (
        MODELS.build(dict(GATE, channels=32, separable=separable))
        for separable in (False, True)
    )
    weights = [
        sum(p.numel() for p in gate.parameters() if p.ndim > 1)
        for gate in (plain, light)
    ]
    assert weights == [2 * 9 * 32 * 32, 2 * (9 * 32 + 32 * 32)]
    modulation = torch.randn(2, 32, 6, 5)
    out = light(modulation)
    assert out.shape == modulation.shape and out.abs().max() < 1
    check_gradients(light, [out])
    with pytest.raises(RuntimeError, match='Missing key'):
        light.load_state_dict(plain.state_dict())


@torch.no_grad()
def test_without_gate_only_structure_is_left():
    neck = decoder(gate=None)
    structure, semantic = torch.randn(2, 8, 12, 10), torch.randn(2, WIDTH, 7, 7)
    out = neck((structure, semantic))[1]
    assert out.shape == semantic.shape
    assert torch.equal(out, neck((structure, -semantic))[1])
    assert neck((structure,))[1].shape == (2, WIDTH, 6, 5)  # 'w/o encoder'


def test_the_gate_needs_features_to_protect():
    with pytest.raises(ValueError, match='none were given'):
        decoder()((torch.randn(2, 8, 12, 10),))


@torch.no_grad()
def test_teacher_features_stand_in_for_the_encoders(build_segmentor):
    teacher = dict(BACKBONES['DINOv2'], arch=dict(VIT, embed_dims=8))
    neck = [
        dict(type='TeacherFeatures', teacher=teacher, input_size=(112, 112)),
        NECKS['structure decoder'],
    ]
    model = build_segmentor(neck=neck)
    assert not any(key.startswith('neck.0') for key in model.state_dict())
    image = torch.randn(1, 3, 56, 56)
    structure, out = model.extract_feat(image).maps
    assert structure.shape == (1, 8, 8, 8)
    assert torch.equal(structure, model.neck[0].teacher(image))
    assert not torch.equal(out, model.backbone(image).maps[-1])
    assert MODELS.get('TeacherFeatures') is type(model.neck[0])
