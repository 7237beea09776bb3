"""The tool that writes a vocabulary's embeddings, so that the tower can be left out."""

import json

import pytest
import torch
from mmseg.registry import MODELS
from safetensors import safe_open

from mmseg_ovs.models.text_encoders import PrecomputedTextEncoder
from mmseg_ovs.structures import Vocabulary
from tests.tiny import TEXT_ENCODERS
from tests.tool_loader import load_tool

main = load_tool('tools/encode_vocabulary.py').main
ENCODER = dict(TEXT_ENCODERS['open_clip'], templates='imagenet_7')


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'model.py'
    path.write_text(f'model = dict(text_encoder={ENCODER!r})')
    return str(path)


def test_the_file_stands_in_for_the_encoder(config, tmp_path, capsys):
    torch.manual_seed(5)
    encoder = MODELS.build(ENCODER)
    state = {f'text_encoder.{k}': v for k, v in encoder.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'model.pth')
    (tmp_path / 'more.txt').write_text('a pikachu\nsky')

    out = tmp_path / 'new' / 'vectors.safetensors'
    vocabularies = ['voc_20b_catseg', str(tmp_path / 'more.txt')]
    checkpoint = str(tmp_path / 'model.pth')
    main(
        [config, '--vocabulary', *vocabularies, '--out', str(out)]
        + ['--checkpoint', checkpoint]
    )
    assert '60 names, embeddings 60 x 16' in capsys.readouterr().out
    for source in vocabularies:
        vocabulary = Vocabulary.build(source)
        encoder.set_vocabulary(vocabulary)
        precomputed = PrecomputedTextEncoder(out, vocabulary)
        torch.testing.assert_close(precomputed(), encoder(), rtol=0, atol=1e-5)
    with safe_open(out, 'pt') as file:
        assert json.loads(file.metadata()['text_encoder']) == ENCODER


def test_options_change_the_config(config, tmp_path, capsys):
    out = tmp_path / 'vectors.safetensors'
    options = ['--cfg-options', 'model.text_encoder.template_average=none']
    command = [config, '--vocabulary', 'camvid_11', '--out', str(out), *options]
    with pytest.raises(SystemExit, match='noise: .* no weights for text_encoder'):
        main(command)
    main([*command, '--allow-random'])
    assert '11 names, embeddings 11 x 7 x 16' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(backbone=None)', 'no model.text_encoder'),
        ("model = dict(text_encoder=dict(type='ReLU'))", 'not a text encoder'),
    ],
)
def test_config_without_text_encoder(tmp_path, text, message):
    (tmp_path / 'model.py').write_text(text)
    arguments = ['--vocabulary', 'voc_20', '--out', str(tmp_path / 'x.safetensors')]
    with pytest.raises(SystemExit, match=message):
        main([str(tmp_path / 'model.py'), *arguments])
    assert not (tmp_path / 'x.safetensors').exists()
