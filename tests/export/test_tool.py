"""The tool, and the example of the documentation on what it writes."""

import importlib.util
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_systems import NAMES, build, config, dinotxt, talk2dino

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.models.text_encoders import load_embeddings, save_embeddings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def main():
    spec = importlib.util.spec_from_file_location('export', ROOT / 'tools/export.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.main


@pytest.fixture
def files(tmp_path):
    """Config and checkpoint of a system."""

    def write(system):
        config(system, tmp_path).dump(tmp_path / 'tiny.py')
        state = build(system, tmp_path).state_dict()
        torch.save(dict(state_dict=state), tmp_path / 'tiny.pth')
        paths = [str(tmp_path / name) for name in ('tiny.py', 'tiny.pth', 'model.onnx')]
        return [paths[0], '--checkpoint', paths[1], '--out', paths[2]]

    return write


def test_the_example(main, files, tmp_path, monkeypatch, capsys):
    """Labels of the documented code are those of the model."""
    arguments = files(dinotxt)
    main(arguments)
    told = capsys.readouterr().out
    assert 'largest difference from the model: ' in told
    assert 'size: [42, 42]' in told
    names, vectors = load_embeddings(tmp_path / 'dinotxt.safetensors')
    save_embeddings(tmp_path / 'classes.safetensors', names, vectors)
    blocks = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    photo = cv2.resize(blocks, (93, 71), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(tmp_path / 'photo.png'), photo)

    page = (ROOT / 'docs/export.md').read_text(encoding='utf-8')
    (example,) = re.findall(
        r'## With onnxruntime\n.*?```python\n(.*?)```', page, flags=re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(example, found)
    inferencer = OpenVocabInferencer(arguments[0], arguments[2], 'cpu')
    expected = inferencer(str(tmp_path / 'photo.png'), NAMES)['predictions'][0]
    assert found['labels'].shape == expected.shape == (71, 93)
    assert len(np.unique(expected)) > 2
    assert (found['labels'] == expected).mean() > 0.999


def test_what_the_caller_can_mend(main, files, tmp_path):
    arguments = files(talk2dino)
    for more, message in (
        (['--vocabulary', 'no_such_list'], 'no_such_list'),
        (['--vocabulary', 'voc_20'], 'no text embeddings'),
        (['--opset', '7'], 'opset has to lie in'),
        (
            ['--cfg-options', 'model.backbone.fit=error', '--size', '40', '40'],
            '40 x 40',
        ),
    ):
        with pytest.raises(SystemExit, match=message):
            main([*arguments, *more])
    with pytest.raises(SystemExit):
        main([*arguments, '--rows', '3', '--vocabulary', 'voc_20'])
    assert not (tmp_path / 'model.onnx').exists()
