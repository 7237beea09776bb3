"""Published files to one checkpoint and back."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model

from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.models.utils import load_model_checkpoint
from tests.tool_loader import ROOT, load_tool

CONFIG = """
_base_ = [
    '{root}/configs/_base_/models/talk2dino.py',
    '{root}/configs/_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=24, depth=2, num_heads=3, feed_forward='mlp'
        ),
        num_registers=0,
        img_size=28,
        init_cfg=None,
    ),
    text_encoder=dict(
        _delete_=True, type='PrecomputedTextEncoder', path='{folder}/names.safetensors'
    ),
    decode_head=dict(in_channels=24, text_channels=16),
)
"""
tool = load_tool('tools/convert_checkpoint.py')


@pytest.fixture
def files(tmp_path):
    """A config, a backbone in Hugging Face's layout, a projection with old names."""
    save_embeddings(tmp_path / 'names.safetensors', ['a', 'b'], torch.randn(2, 16))
    (tmp_path / 'model.py').write_text(CONFIG.format(root=ROOT, folder=tmp_path))
    settings = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3)
    backbone = Dinov2Model(Dinov2Config(**settings, image_size=28, patch_size=14))
    torch.save(backbone.state_dict(), tmp_path / 'hf.pth')
    projection = {
        'linear_layer.weight': torch.randn(24, 16),
        'linear_layer.bias': torch.randn(24),
        'linear_layer2.weight': torch.randn(24, 24),
        'linear_layer2.bias': torch.randn(24),
    }
    torch.save({f'proj.{k}': v for k, v in projection.items()}, tmp_path / 'mlp.pth')
    return tmp_path


def convert(folder, *parts):
    arguments = [str(folder / 'model.py'), '--out', str(folder / 'whole.pth')]
    for part in parts:
        arguments += ['--part', part]
    tool.main(arguments)
    return folder / 'whole.pth'


def test_several_files_to_one_checkpoint_and_back(files, capsys):
    out = convert(
        files,
        f'backbone={files}/hf.pth',
        f'decode_head.text_projection={files}/mlp.pth::proj',
    )
    told = capsys.readouterr().out
    assert 'linear_layer2.weight -> hidden_layers.*.weight' in told
    assert 'embeddings.mask_token' in told  # left out
    assert 'blocks.*.attn.qkv.weight  x 2' in told  # joined

    model = MODELS.build(Config.fromfile(files / 'model.py').model)
    meta = load_model_checkpoint(model, out)
    published = torch.load(files / 'mlp.pth', weights_only=True)
    projection = model.decode_head.text_projection
    assert torch.equal(
        projection.linear_layer.weight, published['proj.linear_layer.weight']
    )
    assert meta['parts']['backbone'].startswith('hf.pth SHA-256 ')

    back = files / 'meta.safetensors'
    model_py = str(files / 'model.py')
    tool.main([model_py, '--checkpoint', str(out), '--export', f'backbone={back}'])
    state = load_file(back)
    assert 'blocks.0.attn.qkv.weight' in state  # Meta's names
    assert all(torch.equal(v, model.backbone.state_dict()[k]) for k, v in state.items())


def test_what_the_checkpoint_lacks_is_told(files, capsys):
    convert(files, f'backbone={files}/hf.pth')
    assert 'decode_head: NOT in the checkpoint' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        ('backbone={}/mlp.pth', 'missing'),
        ('backbone={}/no_such.pth', 'No checkpoint at'),
        ('backbon={}/hf.pth', "no part 'backbon'"),
        ('text_encoder={}/hf.pth', "no part 'text_encoder' with weights"),
        ('decode_head.text_projection={}/mlp.pth::other', "no keys under 'other.'"),
        ('decode_head.text_projection.linear_layer={}/one.pth', '2 of 4 weights of'),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(files, part, message):
    state = dict(weight=torch.zeros(24, 16), bias=torch.zeros(24))
    torch.save(state, files / 'one.pth')
    with pytest.raises(SystemExit, match=message):
        convert(files, part.format(files))
    assert not (files / 'whole.pth').exists()


@pytest.mark.parametrize(
    'arguments',
    [
        ['--part', 'a=b'],
        ['--export', 'a=b'],
        ['--part', 'ab', '--out', 'x'],
        ['--part', 'a=b', 'x', '--part', 'a=c', '--out', 'x'],
        [],
    ],
)
def test_arguments_that_make_no_sense(arguments):
    with pytest.raises(SystemExit, match='2'):
        tool.parse_args(['config.py', *arguments])
