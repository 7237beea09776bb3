"""LPOSS: scores of all patches of an image, spread over a graph of them."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_ovs.models.segmentors import LabelPropagation
from mmseg_ovs.models.segmentors.label_propagation import patch_affinity
from mmseg_ovs.models.segmentors.settings import PropagationCfg
from mmseg_ovs.models.utils import parts_at_random, window_grid
from mmseg_ovs.models.utils.conjugate_gradient import conjugate_gradient
from mmseg_ovs.utils import NonFiniteError, OpenVocabError
from tests.models.segmentors.running import make_image, run, scores
from tests.tiny import BACKBONES, NAMES, build, config, lposs, talk2dino
from tests.tool_loader import load_tool

plain = load_tool('tools/speed/plain_label_propagation.py')
CFG = PropagationCfg(neighbours=7, gamma=2.0, sigma=0.03)


def patches(count=40):
    draw = torch.Generator().manual_seed(3)
    features = torch.randn(count, 5, generator=draw)
    return F.normalize(features), 50 * torch.rand(count, 2, generator=draw)


def test_affinity_by_its_definition():
    features, places = patches()
    chosen = torch.zeros(40, 40)
    for i in range(40):
        alike = features @ features[i]
        for j in alike.argsort(descending=True)[:7]:
            distance = (places[i] - places[j]).norm()
            chosen[i, j] = alike[j].clamp(min=0) ** 2 * torch.exp(-0.03 * distance)
    weights = chosen + chosen.T
    weights.fill_diagonal_(0)
    degree = weights.sum(1)
    expected = weights / (degree[:, None] * degree).sqrt()
    found = patch_affinity(features, places, CFG)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert (found == 0).any()


def test_a_patch_alone_keeps_its_scores():
    """All its neighbours are opposite, so that its degree is 0."""
    features = torch.eye(3)[[0, 1, 2, 2]]
    weights = patch_affinity(features, torch.rand(4, 2), CFG)
    assert not weights[:2].any() and weights[2, 3] > 0


def test_conjugate_gradients_column_by_column():
    """Few iterations as the plain way; many solve; a column at rest stays there."""
    features, places = patches()
    weights = patch_affinity(features, places, CFG)
    draw = torch.Generator().manual_seed(4)
    target = torch.randn(40, 3, generator=draw)
    target[:, 1] = 0

    def multiply(x):
        return x - 0.95 * weights @ x

    sparse = plain.patch_weights(features, places, 7, 2.0, 0.03)
    for iterations in (1, 4, 10):
        found = conjugate_gradient(multiply, target, iterations)
        expected = plain.propagate(sparse, target.T[[0, 2]], 0.95, iterations).float()
        torch.testing.assert_close(found.T[[0, 2]], expected, rtol=1e-4, atol=1e-4)
        assert not found[:, 1].any()
    exact = torch.linalg.solve(torch.eye(40) - 0.95 * weights, target)
    found = conjugate_gradient(multiply, target, 200)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)
    assert (conjugate_gradient(multiply, target, 3) - exact).abs().max() > 0.01
    target[0, 0] = torch.nan
    found = conjugate_gradient(multiply, target, 4)
    assert found[:, 0].isnan().any() and found[:, 2].isfinite().all()


@torch.no_grad()
def test_patches_of_all_windows_are_one_graph(tmp_path):
    """Against the definition, from what backbone and graph give of each window."""
    model = build(lposs, tmp_path, postprocessors=[])
    image = model.data_preprocessor(dict(inputs=[make_image(48, 64)]))['inputs'][0]
    inference = model.build_inference()
    assert isinstance(inference, LabelPropagation)
    layout = inference.lay_out(image)
    text = model.project_vocabulary()
    (found,) = inference.score([layout], text)
    windows = window_grid((48, 64), (48, 32), (24, 16))
    assert len(found) == len(windows) == 3
    targets, nodes, places = [], [], []
    for window, view in zip(windows, layout.views, strict=True):
        grid = model.encode_decode(view[None], text)  # 6 x 4, the graph's is 3 x 2
        targets.append(F.interpolate(grid, (3, 2), mode='bilinear')[0].flatten(1))
        pixels = model.denormalize(view)
        pixels = (pixels - model.graph.mean) / model.graph.std
        nodes.append(F.avg_pool2d(pixels, 16).flatten(1))
        rows = [window.top + 8 + 16 * i for i in range(3)]
        columns = [window.left + 8 + 16 * j for j in range(2)]
        places += [(i, j) for i in rows for j in columns]
    weights = plain.patch_weights(
        F.normalize(torch.cat(nodes, dim=1).T),
        torch.tensor(places).float(),
        neighbours=9,
        gamma=3.0,
        sigma=0.01,
    )
    expected = plain.propagate(weights, torch.cat(targets, dim=1)).float()
    found = torch.cat([f.flatten(1) for f in found], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [(5, 7), (48, 32), (20, 90)])
@torch.no_grad()
def test_images_of_any_size(tmp_path, size):
    """Smaller than a patch, one window, fewer patches than neighbours."""
    graph = dict(backbone=dict(BACKBONES['DINOv3'], fit='resize'))
    model = build(lposs, tmp_path, graph=graph)
    for mode in ('slide', 'whole'):
        (sample,) = run(model, [make_image(*size)], mode=mode)
        assert sample.pred_sem_seg.shape == size
        propagation = dict(neighbours=10**6)
        run(model, [make_image(*size)], mode=mode, propagation=propagation)


@torch.no_grad()
def test_behind_another_method(tmp_path):
    """Talk2DINO, whose windows its own backbone sees resized; values as features."""
    graph = dict(
        backbone=dict(BACKBONES['DINOv2'], final_norm='value', fit='resize'),
        mean=[1.0, 2, 3],
    )
    test_cfg = dict(talk2dino()['test_cfg'], propagation=dict())
    model = build(talk2dino, tmp_path, test_cfg=test_cfg, graph=graph)
    image = make_image(60, 70)
    propagated = scores(model, image)
    plainly = scores(model, image, propagation=None)
    assert propagated.shape == plainly.shape
    assert not torch.allclose(propagated, plainly, rtol=1e-2)


def test_settings_are_checked(tmp_path):
    for propagation, message in (
        (dict(neighbors=3), "setting 'neighbors': did you mean 'neighbours'"),
        (dict(neighbours=0), 'neighbours has to be at least 1'),
        (dict(alpha=1.0), 'alpha has to be between 0 and 1'),
        (dict(gamma=0), 'gamma has to be positive'),
        (True, 'dict of settings .* not True'),
    ):
        test_cfg = dict(mode='whole', propagation=propagation)
        with pytest.raises(OpenVocabError, match=message):
            build(lposs, tmp_path, test_cfg=test_cfg)
    with pytest.raises(OpenVocabError, match='graph that nothing reads'):
        build(lposs, tmp_path, test_cfg=dict(mode='whole'))
    with pytest.raises(OpenVocabError, match='needs a network'):
        build(lposs, tmp_path, graph=None)
    model = build(lposs, tmp_path)
    image = make_image(48, 64)
    with pytest.raises(OpenVocabError, match="'whole' and 'slide'"):
        run(model, [image], mode='local-global', image_size=(96, 64))
    with pytest.raises(OpenVocabError, match=r'48 x 64 .* 18 patches in 3 windows'):
        run(model, [image], propagation=dict(max_patches=17))
    with pytest.raises(OpenVocabError, match='give one of them'):
        run(model, [image], logit_scale=20.0, best_name_before_resize=True)


def test_a_constant_background_score_is_refused(tmp_path):
    """Propagated scores are up to 20 times as large."""
    rule = dict(type='threshold', value=0.5)
    vocabulary = dict(source=NAMES, background=rule)
    model = build(lposs, tmp_path)
    image = make_image(48, 64)
    with pytest.raises(
        OpenVocabError, match=r'test_cfg\.propagation changes the scale'
    ):
        run(model, [image], vocabulary=vocabulary)
    with pytest.raises(OpenVocabError, match='PixelPropagation changes the scale'):
        run(model, [image], vocabulary=vocabulary, propagation=None)
    run(model, [image], vocabulary=vocabulary, propagation=None, refine=False)
    with pytest.raises(OpenVocabError, match='background with names'):
        run(
            model,
            [image],
            vocabulary=vocabulary,
            propagation=None,
            refine=False,
            best_name_before_resize=True,
        )


@torch.no_grad()
def test_best_name_before_or_after_the_resize(tmp_path):
    """Before: the resize of the best; in chunks of any size the same."""
    model = build(lposs, tmp_path)
    image, names = make_image(48, 64), [NAMES[:3], NAMES[3], NAMES[4]]
    call = dict(vocabulary=names, best_name_before_resize=True, keep_logits=True)
    meta = dict(ori_shape=(31, 45))
    rows = run(model, [image], vocabulary=NAMES, keep_logits=True)
    rows = rows[0].seg_logits.data
    best = torch.stack([rows[:3].amax(0), rows[3], rows[4]])
    expected = F.interpolate(best[None], (31, 45), mode='bilinear')[0]
    for chunk_mb in (100, 1e-6):
        (found,) = run(model, [image], meta, **call, chunk_mb=chunk_mb)
        torch.testing.assert_close(found.seg_logits.data, expected)
        assert torch.equal(found.pred_sem_seg.data[0], expected.argmax(0))
    call['best_name_before_resize'] = False
    (after,) = run(model, [image], meta, **call)
    assert not torch.allclose(after.seg_logits.data, expected, rtol=1e-5)


def test_the_graph_is_outside_the_model(tmp_path):
    graph = dict(backbone=BACKBONES['DINOv3'])
    model = MODELS.build(config(lposs, tmp_path, graph=graph).model)
    assert not [name for name in model.state_dict() if 'graph' in name]
    assert 'graph.proxy' in parts_at_random(model)
    network = model.graph.proxy.network('cpu')
    assert not any(p.requires_grad for p in network.parameters())


def test_broken_features_are_not_silent(tmp_path):
    model = build(lposs, tmp_path)
    model.graph.mean[0] = torch.nan
    with pytest.raises(NonFiniteError):
        run(model, [make_image(48, 64)])
    padded = dict(backbone=BACKBONES['DINOv3'])
    model = build(lposs, tmp_path, graph=padded)
    with pytest.raises(ValueError, match="fit='resize'"):
        run(model, [make_image(45, 60)], mode='whole')
