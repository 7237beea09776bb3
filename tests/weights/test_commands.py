"""``mmseg-ovs models`` and ``fetch``; the whole way from addresses to masks."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from safetensors.torch import save

from mmseg_ovs.__main__ import main
from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.composition import UnknownConfigError, find_config, shipped_models
from mmseg_ovs.composition.names import short_names
from mmseg_ovs.weights import local_path, weight_files
from tests.tiny import HEADS, PIXELS, TEXT_ENCODERS, WIDTH, build, shake, talk2dino

WORDS = ['sand', 'sky']
REPO = '/owner/talk/resolve/main/model.safetensors'


PARTS = dict(
    text_encoder=TEXT_ENCODERS['open_clip'],
    decode_head=dict(HEADS['Talk2DINO'], text_channels=WIDTH),
)


@pytest.fixture
def model(tmp_path):
    """A tiny Talk2DINO in which every weight counts."""
    return shake(build(talk2dino, tmp_path, **PARTS))


@pytest.fixture
def cfg():
    """Its config without weights, ready for the inferencer."""
    steps = ('LoadImageFromFile', 'PackSegInputs')
    parts = dict(type='OpenVocabSegmentor', data_preprocessor=PIXELS, **PARTS)
    model = copy.deepcopy({**talk2dino(), **parts})
    pipeline = [dict(type=step) for step in steps]
    return Config(dict(default_scope='mmseg', model=model, test_pipeline=pipeline))


def state_of(part):
    return {k: v.clone() for k, v in part.state_dict().items()}


def whole_file(model):
    """The model as its authors keep it on the Hub: names of DINOv2, CLIP and theirs."""
    state = {f'model.{k}': v for k, v in state_of(model.backbone).items()}
    for key, value in state_of(model.text_encoder).items():
        state[f'clip_model.{key.removeprefix("tower.clip.")}'] = value
    for key, value in state_of(model.decode_head.text_projection).items():
        state[f'proj.{key}'] = value
    rest = ('logit_scale', 'clip_model.logit_scale', 'clip_model.visual.conv1.weight')
    return {**state, **{key: torch.ones(1) for key in rest}}


def put(server, path, state):
    server.files[path] = save({k: v.contiguous() for k, v in state.items()})


def by_parts(cfg, server, model, tmp_path):
    """Name the parts' files: a web address, one of the Hub, and a path."""
    put(server, '/files/backbone.safetensors', state_of(model.backbone))
    put(server, REPO, state_of(model.text_encoder))
    projection = tmp_path / 'projection.pth'
    torch.save(state_of(model.decode_head.text_projection), projection)
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=f'{server.url}/files/backbone.safetensors'
    )
    cfg.model.text_encoder.init_cfg = dict(
        type='Pretrained', checkpoint='hf://owner/talk/model.safetensors'
    )
    cfg.model.decode_head.text_projection = dict(
        init_cfg=dict(type='Pretrained', checkpoint=str(projection))
    )
    path = tmp_path / 'by_parts.py'
    cfg.dump(path)
    return path, projection


def labels_of(model):
    """Labels and scores of an image, by an inferencer or what it is made of."""
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    (prediction,) = model.predict(image, WORDS, keep_scores=True)
    assert prediction.error is None, prediction.reason
    return prediction.scores


@pytest.fixture
def expected(cfg, model, tmp_path):
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return labels_of(OpenVocabInferencer(cfg, tmp_path / 'model.pth', 'cpu'))


def test_parts_are_fetched_and_used(cfg, server, model, expected, tmp_path, capsys):
    path, projection = by_parts(cfg, server, model, tmp_path)
    assert main(['fetch', str(path)]) == 0
    told = capsys.readouterr().out
    assert 'backbone: to download' in told and 'text_encoder: to download' in told
    assert 'by_parts can be used' in told
    server.files.clear()
    assert np.allclose(labels_of(OpenVocabInferencer(path, device='cpu')), expected)
    assert main(['fetch', str(path)]) == 0
    assert 'backbone: here' in capsys.readouterr().out


def test_what_cannot_be_fetched_says_where_it_belongs(
    cfg, server, model, tmp_path, capsys
):
    path, projection = by_parts(cfg, server, model, tmp_path)
    projection.unlink()
    server.gated.add('owner/talk')
    address = f'{server.url}/files/backbone.safetensors'
    del server.files['/files/backbone.safetensors']
    assert main(['fetch', str(path)]) == 1
    told = capsys.readouterr().err
    for part in ('from: https://huggingface.co/owner/talk', f'to:   {projection}'):
        assert part in told
    assert f'to:   {local_path(address)}' in told
    assert 'there is no such file' in told and 'needs access' in told
    for option in ('backbone', 'text_encoder', 'decode_head.text_projection'):
        assert f'--cfg-options model.{option}.init_cfg.checkpoint=FILE' in told


def test_a_half_file_is_found_and_removed(cfg, server, model, tmp_path, capsys):
    path, _ = by_parts(cfg, server, model, tmp_path)
    assert main(['fetch', str(path)]) == 0
    file = local_path(f'{server.url}/files/backbone.safetensors')
    file.write_bytes(file.read_bytes()[:1000])
    (blob,) = (tmp_path / 'hub').glob('*/blobs/*')
    blob.write_bytes(blob.read_bytes()[:1000])
    assert main(['fetch', str(path)]) == 1
    told = capsys.readouterr().err
    assert 'backbone.safetensors: 1,000 of' in told
    assert 'hf://' not in told and 'owner/talk/model.safetensors: SHA-256' in told
    assert main(['fetch', str(path)]) == 0


def test_the_whole_model_of_the_hub(cfg, server, model, expected, tmp_path, capsys):
    put(server, REPO, whole_file(model))
    cfg.load_from = 'hf://owner/talk/model.safetensors'
    cfg.dump(tmp_path / 'hub.py')
    assert main(['fetch', str(tmp_path / 'hub.py')]) == 0
    assert [f.option for f in weight_files(cfg)] == ['load_from']
    assert np.allclose(labels_of(OpenVocabInferencer(cfg, device='cpu')), expected)
    server.files.clear()
    cfg.pop('load_from')
    inferencer = OpenVocabInferencer(cfg, 'hf://owner/talk/model.safetensors', 'cpu')
    assert np.allclose(labels_of(inferencer), expected)


def test_old_names_of_the_projection_in_a_whole_model(cfg, server, model, expected):
    state = {
        key.replace('hidden_layers.0.', 'linear_layer2.'): value
        for key, value in whole_file(model).items()
    }
    put(server, REPO, state)
    inferencer = OpenVocabInferencer(cfg, 'hf://owner/talk/model.safetensors', 'cpu')
    assert np.allclose(labels_of(inferencer), expected)


def test_a_file_that_two_parts_share_is_one():
    (file,) = weight_files(Config.fromfile(find_config('sclip')))
    assert file.part == 'backbone, text_encoder'
    assert file.address.startswith('hf://timm/vit_base_patch16_clip_224.openai/')
    options = 'model.backbone.pretrained=FILE model.text_encoder.pretrained'
    assert file.option == options


def test_untrained_models_are_said(server, capsys):
    assert main(['fetch', 'text-similarity_mit-tiny_shapes-112x112']) == 1
    assert 'names no weights. Train the model' in capsys.readouterr().err


def test_the_list(server, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no folder weights/
    assert main(['models', 'talk2dino']) == 0
    told = capsys.readouterr().out
    names = [n for n in shipped_models() if 'talk2dino' in n]
    assert all(f'{name}\n' in told or f'{name} = ' in told for name in names)
    lines = told.splitlines()
    state = {line.split()[0]: lines[i + 1].strip() for i, line in enumerate(lines[:-1])}
    assert state['talk2dino_dinov2-reg-b14'] == 'can be used now: downloads 3 files'
    assert state['talk2dino_dinov3-b16'].startswith('needs access: weights/dinov3_vitb')
    assert state['talk2dino_dinov3-b16_hub'] == 'can be used now: downloads 1 file'
    assert state['talk2dino_dinov2-b14'] == 'untrained: decode_head'
    assert 'caption-supervised, 151.0 M parameters, weights: DINOv2: Apache-2.0' in told
    assert main(['models', 'code_clip']) == 0
    assert 'needs a file: a checkpoint with neck' in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, 'transformers', None)
    assert main(['models', 'groupvit']) == 0
    assert 'needs a library: ' in capsys.readouterr().out
    assert not server.asked
    assert main(['models', 'no such']) == 1


def test_short_names():
    short, models = short_names(), shipped_models()
    assert set(short.values()) <= set(models) and not set(short) & set(models)
    assert len(set(short.values())) == len(short) > 15
    assert find_config('talk2dino-b') == models['talk2dino_dinov2-reg-b14']
    with pytest.raises(UnknownConfigError, match='mean talk2dino-b .*models lists'):
        OpenVocabInferencer('talk2dino-bb')


def test_commands(capsys):
    assert main(['--help']) == 0
    assert 'fetch    download' in capsys.readouterr().out
    assert main(['mdoels']) == 2
    assert 'there is no command mdoels' in capsys.readouterr().err
    command = [sys.executable, '-m', 'mmseg_ovs', 'predict', '--help']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '--allow-random' in done.stdout
