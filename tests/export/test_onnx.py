"""ONNX files of every system: the model's results, and what stands in them."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from mmseg_ovs.export import ExportError, OnnxFormat, TorchFormat, export_model
from tests.tiny import (
    NAMES,
    SYSTEMS,
    build,
    cat_seg,
    clip_dinoiser,
    dinotxt,
    groupvit,
    talk2dino,
)

BY_NAME = pytest.mark.parametrize('system', SYSTEMS, ids=lambda s: s.__name__)
PLAIN = {'channels', 'output', 'activation_after_resize', 'text', 'config', 'mmseg_ovs'}


@pytest.fixture(scope='session')
def session(exported):
    return lambda system: onnxruntime.InferenceSession(exported(system)[1][-1])


def facts(session):
    """The metadata as a user of the file reads it."""
    strings = session.get_modelmeta().custom_metadata_map
    return {k: v if k in PLAIN else json.loads(v) for k, v in strings.items()}


def window_scores(model, image, text):
    """What the model's own inference makes of a window, before post-processors."""
    inference, after = model.build_inference(), model.postprocessors
    model.postprocessors = nn.ModuleList()
    with torch.no_grad():
        scores = inference.score_batch(image, model.decode_head.project_text(text))
    model.postprocessors = after
    return scores


@BY_NAME
@pytest.mark.parametrize('rows', [1, 6])
def test_the_scores_of_the_models_own_inference(exported, session, system, rows):
    """The file was traced with seven rows."""
    model, run = exported(system)[0], session(system)
    image = torch.randn(1, 3, *facts(run)['size'])
    text = torch.randn(rows, *SYSTEMS[system])
    expected = window_scores(model, image, text)
    (scores,) = run.run(None, dict(image=image.numpy(), text=text.numpy()))
    assert scores.shape == expected.shape
    if rows > 1 or system not in (
        clip_dinoiser,
        groupvit,
    ):  # a softmax over one row is 1
        assert expected.std() > 1e-2
    np.testing.assert_allclose(scores, expected, atol=5e-5)


@BY_NAME
def test_what_the_file_says(exported, session, system):
    model, arguments = exported(system)
    run = session(system)
    meta, (image, text) = facts(run), run.get_inputs()
    height, width = meta['size']
    assert image.shape == [1, 3, height, width]
    assert text.shape == ['rows', *SYSTEMS[system]]
    assert meta['vector'] == list(SYSTEMS[system])
    grid = run.get_outputs()[0].shape[2:]
    assert meta['grid'] == grid
    assert meta['stride'] == [height / grid[0], width / grid[1]]
    assert (meta['mean'], meta['std']) == ([120, 110, 100], [60, 55, 50])
    assert meta['channels'] == 'RGB'
    assert meta['config'] == arguments[0]
    assert f'encode_vocabulary.py {arguments[0]}' in meta['text']
    assert meta['test_cfg']['mode'] == model.test_cfg['mode']


def test_size_and_output_follow_the_inference(session):
    meta = facts(session(talk2dino))
    assert meta['size'] == [42, 42]  # the window
    assert meta['not_in_graph'] == ['PAMR']
    assert meta['output'] == 'scores'
    assert facts(session(dinotxt))['size'] == [48, 32]  # the stretched image
    meta = facts(session(cat_seg))
    assert meta['size'] == [40, 40]
    assert (meta['output'], meta['activation_after_resize']) == ('logits', 'sigmoid')
    assert 'up to 7' in meta['text']


def test_tables_are_constants(exported):
    """Nothing of positions is left to compute."""
    for system, operators in ((talk2dino, {'Resize'}), (dinotxt, {'Sin', 'Cos'})):
        graph = onnx.load(exported(system)[1][-1]).graph
        assert not operators & {node.op_type for node in graph.node}


def test_vocabulary_inside_any_batch_another_size_newer_operators(tmp_path):
    model = build(talk2dino, tmp_path)
    path = tmp_path / 'model.onnx'
    result = export_model(
        model, path, OnnxFormat(20), (28, 70), batch=None, bake_vocabulary=True
    )
    assert [o.version for o in onnx.load(path).opset_import if not o.domain] == [20]
    run = onnxruntime.InferenceSession(path)
    assert run.get_modelmeta().custom_metadata_map == result.metadata
    meta = facts(run)
    assert meta['classes'] == meta['rows'] == NAMES
    assert meta['row_to_class'] == list(range(len(NAMES)))
    assert [i.shape for i in run.get_inputs()] == [['batch', 3, 28, 70]]
    image = torch.randn(3, 3, 28, 70)
    (scores,) = run.run(None, dict(image=image.numpy()))
    expected = window_scores(model, image, model.text_encoder(model.vocabulary))
    np.testing.assert_allclose(scores, expected, atol=5e-5)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(size=(0, 42)), 'size has to be height and width'),
        (dict(batch=0), 'batch has to be at least 1'),
        (dict(form=OnnxFormat(17)), 'opset has to be in 18..'),
        (dict(form=OnnxFormat()), r'has to end in \.onnx'),
        (
            dict(tolerance=-1, bake_vocabulary=True),
            r'differs from the model by .*: nothing was written',
        ),
    ],
)
def test_what_cannot_be(changes, message, tmp_path):
    model, path = build(talk2dino, tmp_path), tmp_path / 'out' / 'model.pt2'
    with pytest.raises(ExportError, match=message):
        export_model(model, path, **dict(dict(form=TorchFormat()), **changes))
    assert not path.parent.exists() or not list(path.parent.iterdir())


def test_sizes_that_do_not_go_with_the_inference(tmp_path):
    model = build(dinotxt, tmp_path)
    with pytest.raises(ExportError, match=r'crop_size \(32, 32\) has to fit'):
        export_model(model, tmp_path / 'model.onnx', size=(24, 32))
    with pytest.raises(ExportError, match='do not begin and end on the grid'):
        export_model(model, tmp_path / 'model.onnx', size=(52, 32))
    model.test_cfg = dict(mode='whole')
    with pytest.raises(ExportError, match='--size HEIGHT WIDTH'):
        export_model(model, tmp_path / 'model.onnx')
