"""dinov3.seg without SAM: the student alone, then in the place of the prior."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ovs.models.utils import CheckpointError
from tests.models.module_tester import check_gradients
from tests.tiny import BACKBONES, NECKS, PIXELS, SAM, build, dinov3_seg_wo_sam, make

LAYERS = dict(out_indices=(0, 1, 1), final_norm=(False, False, True))
# DINO's 32 pixels in patches of 8 become 8 x 8; SAM's 64 are 8 x 8 patches.
TEACHER = dict(type='AlignmentHead', teacher=SAM, input_size=(64, 64))
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def student(**neck):
    return MODELS.build(
        dict(
            type='StudentAlignment',
            data_preprocessor=PIXELS,
            backbone=dict(BACKBONES['DINOv3'], **LAYERS),
            neck=dict(NECKS['structure encoder'], **neck),
            auxiliary_head=TEACHER,
            input_size=(32, 32),
        )
    )


def test_only_the_student_learns_and_is_saved():
    torch.manual_seed(0)
    model = student()
    assert {key.split('.')[0] for key in model.state_dict()} == {'neck'}
    structure, _ = model(IMAGES)
    assert structure.shape == (2, 8, 8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    totals = []
    for _ in range(12):
        losses = model(IMAGES, mode='loss')
        assert set(losses) == {'align.loss_cosine', 'align.loss_mse'}
        totals.append(sum(losses.values()))
        optimizer.zero_grad()
        totals[-1].backward()
        optimizer.step()
    assert totals[-1] < 0.9 * totals[0]
    assert len(check_gradients(model, [model(IMAGES)[0]])) == len(model.state_dict())


def test_stored_features_need_no_teacher():
    model = student()
    samples = []
    for features in model.auxiliary_head.teacher(IMAGES):
        samples.append(SegDataSample())
        samples[-1].teacher_features = PixelData(data=features)
    expected = model(IMAGES, [SegDataSample()] * 2, mode='loss')
    model.auxiliary_head.teacher = None
    stored = model(IMAGES, samples, mode='loss')
    for name, value in expected.items():
        torch.testing.assert_close(stored[name], value)


def test_a_student_on_another_grid_than_the_teacher():
    with pytest.raises(ValueError, match=r'8 channels of 4 x 4.*teacher.*8 x 8'):
        student(scale_factor=1)(IMAGES, mode='loss')


def test_a_student_on_another_grid_than_the_prior(tmp_path):
    system = dinov3_seg_wo_sam()
    neck = [system['neck'][0], dict(system['neck'][1], scale_factor=1)]
    model = build(dinov3_seg_wo_sam, tmp_path, neck=neck)
    wrong = r'spatial blocks has to be \(8, 4, 4\).*got \(8, 2, 2\).*scale_factor'
    with pytest.raises(ValueError, match=wrong):
        model(IMAGES[..., :32, :32])


def test_it_predicts_nothing():
    with pytest.raises(ValueError, match='only trains a neck'):
        student()(IMAGES, mode='predict')


def test_the_whole_takes_the_student(tmp_path):
    trained = make(NECKS['structure encoder'])
    state = {f'neck.{key}': value for key, value in trained.state_dict().items()}
    file = tmp_path / 'student.pth'
    torch.save(dict(state_dict=state), file)
    init = dict(type='Pretrained', checkpoint=str(file), prefix='neck.')
    system = dinov3_seg_wo_sam()
    neck = [system['neck'][0], dict(system['neck'][1], init_cfg=init)]
    model = build(dinov3_seg_wo_sam, tmp_path, neck=neck)
    model.neck[1].init_weights()
    for key, value in model.neck[1].state_dict().items():
        assert torch.equal(value, state[f'neck.{key}'])
    del state['neck.project.bias']
    torch.save(dict(state_dict=state), file)
    with pytest.raises(CheckpointError, match=r'1 missing: project\.bias'):
        model.neck[1].init_weights()


@torch.no_grad()
def test_one_pass_of_the_backbone_gives_features_and_guidance(tmp_path):
    model = build(dinov3_seg_wo_sam, tmp_path)
    calls = []
    model.backbone.backbone.register_forward_hook(lambda *call: calls.append(call))
    structure, features = model.extract_feat(IMAGES).maps
    assert len(calls) == 1
    assert structure.shape == (2, 8, 16, 16) and features.shape == (2, 16, 8, 8)
    text = torch.randn(3, 2, 16)
    logits = model.decode_head(model.extract_feat(IMAGES), text)
    changed = model.extract_feat(IMAGES)._replace(
        maps=(structure + torch.randn_like(structure), features)
    )
    assert (model.decode_head(changed, text) - logits).abs().max() > 1e-4
