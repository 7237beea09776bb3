"""The stages of a system, each in its published form and in ours, at toy size."""

import pytest
import torch

from tests.tool_loader import ROOT, load_tool

# The plain form has the published number of heads and size of filters.
ANYUP = """
neck = _base_.model.neck
neck[0].update(qk_dim=16, num_heads=4, kernel_size_lfu=5, window_ratio=0.1)
model = dict(neck=neck)
"""


@pytest.fixture
def tool():
    return load_tool('tools/speed/chain.py')


@pytest.mark.parametrize(
    ('config', 'width', 'changes', 'stages'),
    [
        (
            'ovs_dino/ovs-dino_tiny_shapes-112x112.py',
            96,
            '',
            ['StructureAwareEncoder', 'StructureModulatedDecoder', 'head', 'PAMR'],
        ),
        (
            'dinov3_seg/dinov3-seg_tiny_shapes-112x112.py',
            192,
            ANYUP,
            ['AnyUp', 'SemanticPriorEncoder', 'head'],
        ),
    ],
    ids=['ovs-dino', 'dinov3-seg'],
)
def test_the_published_way_gives_the_same(
    tool, monkeypatch, tmp_path, config, width, changes, stages
):
    monkeypatch.setattr(tool, 'SIZE', (112, 140))
    path = tmp_path / 'config.py'
    path.write_text(f'_base_ = [{str(ROOT / "configs" / config)!r}]\n{changes}')
    monkeypatch.setattr(tool, 'SYSTEMS', {'tiny': tool.System(path, width)})
    with torch.inference_mode():
        chain = tool.Chain('tiny', tmp_path, count=1)
        if 'PAMR' in stages:
            cfg = dict(type='PAMR', num_iter=2, dilations=(1, 2))
            chain.model.postprocessors.append(tool.MODELS.build(cfg))
        rows = [chain.read(), chain.backbone(), *chain.necks()]
        text = tool.set_words(chain.model, 5, width, tmp_path)
        rows += [chain.head(text), chain.pamr(), chain.labels()]
    rows = [row for row in rows if row]
    names = [row.stage.split(',')[0] for row in rows]
    assert [name for name in names if name in stages] == stages
    compared = [row for row in rows if row.difference is not None]
    assert len(compared) >= len(rows) - 2
    for row in compared:
        assert row.difference < 1e-4, row.stage
    whole = tool.total(rows)
    for column in tool.COLUMNS:
        parts = [row.cells[column].seconds for row in rows]
        assert whole.cells[column].seconds == pytest.approx(sum(parts))
    assert tool.format_row(whole).count('|') == len(tool.COLUMNS) + 4
