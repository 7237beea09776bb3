"""Operations of a model, counted by hand and by the tool."""

import pytest
from mmengine.config import Config

from tests.tiny import BACKBONES, HEADS, NECKS, TEXT_ENCODERS, WIDTH
from tests.tool_loader import load_tool

tool = load_tool('tools/speed/count_flops.py')


@pytest.fixture
def config(tmp_path):
    model = dict(
        type='OpenVocabSegmentor',
        backbone=dict(
            type='BackboneWithNeck',
            backbone=dict(BACKBONES['DINOv2'], frozen_stages=2),
            neck=dict(NECKS['AnyUp'], output_size=1),
        ),
        text_encoder=dict(TEXT_ENCODERS['dino.txt'], templates='single'),
        decode_head=dict(HEADS['text similarity'], channels=12),
        test_cfg=dict(mode='slide', crop_size=(56, 56), stride=(28, 28)),
    )
    path = tmp_path / 'model.py'
    Config(dict(model=model)).dump(path)
    return str(path)


def vit_flops(tokens, dims, depth, patch):
    """Two for each multiplication and addition; one token has no patch."""
    embedding = 2 * (tokens - 1) * 3 * patch**2 * dims
    linears = 2 * tokens * dims * (3 + 1 + 4 + 4) * dims
    attention = 2 * 2 * tokens**2 * dims
    return embedding + depth * (linears + attention)


def test_counts(config):
    cfg = Config.fromfile(config)
    model = tool.build_on_meta(cfg.model, 'ade20k_150')
    rows = tool.count(model, (56, 84))
    table = {row.name.split()[0]: row for row in rows}
    windows, cells, names = 2, 16, len(model.vocabulary.rows)
    assert names == 150
    backbone = table['backbone.backbone']
    assert backbone.flops == windows * vit_flops(1 + cells, WIDTH, 2, 14)
    assert backbone.weights > 0 and backbone.trained == 0
    neck = table['backbone.neck']
    assert neck.weights == neck.trained > 0 and neck.flops > 0
    head = table['decode_head']
    assert head.weights == 2 * (WIDTH + 1) * 12
    assert head.flops == windows * 2 * cells * 12 * (WIDTH + names)
    assert table['other'].flops == 2 * names * WIDTH * 12  # the text's projection
    total = rows[-1]
    assert total.weights == sum(p.numel() for p in model.parameters())
    text = table['text_encoder']
    assert text.flops > 2 * names * 16 * 40
    assert total.flops == sum(row.flops for row in rows[:-1]) - text.flops


def test_table(config, monkeypatch, capsys):
    options = ['--shape', '56', '56', '--cfg-options', 'model.test_cfg.mode=whole']
    monkeypatch.setattr('sys.argv', ['count_flops.py', config, *options])
    tool.main()
    lines = capsys.readouterr().out.splitlines()
    assert 'an image of 56 x 56' in lines[0] and lines[1].startswith('part ')
    assert lines[2].startswith('backbone.backbone (DINOv2) ')
    assert lines[3].startswith('backbone.neck (AnyUp) ')
    assert lines[-1].startswith('sum (operations: without text_encoder) ')


@pytest.mark.parametrize('average', ['normalized', 'synonyms'])
def test_a_text_encoder_of_open_clip(config, average):
    """Without its published weights, which nothing here reads."""
    model = Config.fromfile(config).model
    model.text_encoder = dict(
        type='OpenCLIPTextEncoder',
        model='RN50',
        pretrained='openai',
        templates='single',
        template_average=average,
    )
    model.decode_head.text_channels = 1024
    rows = tool.count(tool.build_on_meta(model, 'voc_20'), (56, 84))
    text = next(row for row in rows if row.name.startswith('text_encoder'))
    assert text.weights > 6e7 and text.flops > 0
