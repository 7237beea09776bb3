"""ONNX files of every system: the model's results, and what stands in them."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_systems import NAMES, SYSTEMS, build, cat_seg, dinotxt, dinov3_seg, talk2dino

from mmseg_ovs.export import ExportError, OnnxFormat, export_model
from mmseg_ovs.models.segmentors.inference import InferenceCfg
from mmseg_ovs.models.segmentors.local_global import build_inference

BY_NAME = pytest.mark.parametrize('system', SYSTEMS, ids=lambda s: s.__name__)


def session(result):
    return onnxruntime.InferenceSession(result.path)


def facts(result):
    """The metadata as a user of the file sees it."""
    strings = session(result).get_modelmeta().custom_metadata_map
    assert strings == result.metadata
    plain = ('channels', 'output', 'activation_after_resize', 'text', 'config')
    return {
        key: value if key in (*plain, 'mmseg_ovs') else json.loads(value)
        for key, value in strings.items()
    }


def window_scores(model, image, text):
    """What the model's own inference resizes and merges."""
    inference = build_inference(model, InferenceCfg(**model.test_cfg))
    with torch.no_grad():
        return inference.score_batch(image, model.decode_head.project_text(text))


@BY_NAME
@pytest.mark.parametrize('rows', [1, 6])
def test_the_scores_of_the_models_own_inference(exported, system, rows):
    """The file was traced with seven rows."""
    model, result = exported(system)
    image = torch.randn(1, 3, *facts(result)['size'])
    text = torch.randn(rows, *SYSTEMS[system])
    expected = window_scores(model, image, text)
    inputs = dict(image=image.numpy(), text=text.numpy())
    (scores,) = session(result).run(None, inputs)
    assert scores.shape == expected.shape
    assert expected.std() > 1e-2
    np.testing.assert_allclose(scores, expected, atol=5e-5)


@BY_NAME
def test_what_the_file_says(exported, system):
    model, result = exported(system)
    meta, (image, text) = facts(result), session(result).get_inputs()
    height, width = meta['size']
    assert image.shape == [1, 3, height, width]
    assert text.shape == ['rows', *SYSTEMS[system]]
    assert meta['vector'] == list(SYSTEMS[system])
    grid = session(result).get_outputs()[0].shape[2:]
    assert meta['grid'] == grid
    assert meta['stride'] == [height / grid[0], width / grid[1]]
    assert (meta['mean'], meta['std']) == ([120, 110, 100], [60, 55, 50])
    assert meta['channels'] == 'RGB'
    assert meta['config'] == system.__name__
    assert f'encode_vocabulary.py {system.__name__}' in meta['text']
    assert meta['test_cfg']['mode'] == model.test_cfg['mode']


def test_size_and_output_follow_the_inference(exported):
    assert facts(exported(talk2dino)[1])['size'] == [42, 42]  # the window
    assert facts(exported(dinov3_seg)[1])['size'] == [40, 32]  # the stretched picture
    meta = facts(exported(cat_seg)[1])
    assert meta['size'] == [40, 40]
    assert (meta['output'], meta['activation_after_resize']) == ('logits', 'sigmoid')
    assert 'up to 7' in meta['text']
    assert facts(exported(talk2dino)[1])['not_in_graph'] == ['PAMR']
    assert facts(exported(dinotxt)[1])['output'] == 'scores'


def test_tables_are_constants(exported):
    """Nothing of positions is left to compute."""
    onnx = pytest.importorskip('onnx')
    for system, operators in ((talk2dino, {'Resize'}), (dinotxt, {'Sin', 'Cos'})):
        graph = onnx.load(exported(system)[1].path).graph
        assert not operators & {node.op_type for node in graph.node}


def test_baked_vocabulary_and_any_batch(tmp_path):
    model = build(talk2dino, tmp_path)
    path = tmp_path / 'model.onnx'
    result = export_model(model, path, batch=None, bake_vocabulary=True)
    meta = facts(result)
    assert meta['classes'] == meta['rows'] == NAMES
    assert meta['row_to_class'] == list(range(len(NAMES)))
    image = torch.randn(3, 3, 42, 42)
    (scores,) = session(result).run(None, dict(image=image.numpy()))
    expected = window_scores(model, image, model.text_encoder())
    np.testing.assert_allclose(scores, expected, atol=5e-5)


def test_newer_operators_and_another_size(tmp_path):
    onnx = pytest.importorskip('onnx')
    path = tmp_path / 'model.onnx'
    result = export_model(
        build(talk2dino, tmp_path), path, OnnxFormat(20), size=(28, 70), rows=4
    )
    assert [o.version for o in onnx.load(path).opset_import if not o.domain] == [20]
    assert [i.shape for i in session(result).get_inputs()] == [
        [1, 3, 28, 70],
        [4, 20],
    ]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(size=(0, 42)), 'size has to be height and width'),
        (dict(batch=0), 'batch has to be at least 1'),
        (dict(form=OnnxFormat(17)), 'opset has to lie in 18..'),
        (dict(tolerance=0), r'differs from the model by .*: nothing was written'),
        (dict(path='model.pt2'), r'has to end in \.onnx'),
    ],
)
def test_what_cannot_be(changes, message, tmp_path):
    changes = {'path': 'model.onnx', **changes}
    path = tmp_path / 'out' / changes.pop('path')
    with pytest.raises(ExportError, match=message):
        export_model(build(talk2dino, tmp_path), path, **changes)
    assert not path.parent.exists() or not list(path.parent.iterdir())


def test_sizes_that_do_not_go_with_the_inference(tmp_path):
    model = build(dinov3_seg, tmp_path)
    with pytest.raises(ExportError, match=r'crop_size \(32, 32\) has to fit'):
        export_model(model, tmp_path / 'model.onnx', size=(24, 32))
    with pytest.raises(ExportError, match='do not begin and end on the grid'):
        export_model(model, tmp_path / 'model.onnx', size=(44, 32))
    model.test_cfg = dict(mode='whole')
    with pytest.raises(ExportError, match='--size HEIGHT WIDTH'):
        export_model(model, tmp_path / 'model.onnx')
