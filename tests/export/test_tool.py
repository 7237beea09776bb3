"""What the tool says, and the example of the documentation on what it writes."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.export import ExportError, export_model
from tests.tiny import NAMES, build, dinov3_seg, ovs_dino
from tests.tool_loader import ROOT

PAGE = ROOT / 'docs' / 'export.md'


def test_the_example(exported, tmp_path, monkeypatch):
    """Labels of the documented code are those of the model, over windows."""
    _, (config, _, checkpoint, _, model) = exported(ovs_dino)
    vectors = Path(model).with_name('ovs_dino.safetensors')
    (tmp_path / 'classes.safetensors').symlink_to(vectors)
    (tmp_path / 'model.onnx').symlink_to(model)
    blocks = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    photo = cv2.resize(blocks, (93, 71), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(tmp_path / 'photo.png'), photo)

    page = PAGE.read_text(encoding='utf-8')
    (example,) = re.findall(
        r'## With onnxruntime\n.*?```python\n(.*?)```', page, flags=re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(example, found)
    inferencer = OpenVocabInferencer(config, checkpoint, 'cpu')
    expected = inferencer(str(tmp_path / 'photo.png'), NAMES).labels
    assert found['labels'].shape == expected.shape == (71, 93)
    assert len(np.unique(expected)) > 2
    assert (found['labels'] == expected).mean() > 0.999


def test_a_number_of_classes_that_the_image_decides(tmp_path):
    model = build(dinov3_seg, tmp_path)
    model.decode_head.aggregator.keep_classes = 2
    with pytest.raises(ExportError, match='aggregator.keep_classes=None'):
        export_model(model, tmp_path / 'model.onnx')


def test_what_the_caller_can_mend(tool, files):
    arguments = files(dinov3_seg)
    for more, message in (
        (['--vocabulary', 'no_such_list'], 'no_such_list'),
        (['--vocabulary', 'voc_20'], 'no text embeddings'),
        (['--opset', '7'], 'opset has to be in'),
        (['--size', '8', '40'], 'does not take images of'),  # one patch high
    ):
        with pytest.raises(SystemExit, match=message):
            tool([*arguments, *more])
    with pytest.raises(SystemExit):
        tool([*arguments, '--rows', '3', '--vocabulary', 'voc_20'])
    assert not Path(arguments[-1]).exists()
