"""GroupViT: files of transformers and of the authors, groups, top five, background."""

import math
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.testing import assert_close

from mmseg_ovs.composition import compose
from mmseg_ovs.engine import data_vocabulary
from mmseg_ovs.models.decode_heads import GroupViTHead
from mmseg_ovs.models.utils import (
    CheckpointError,
    load_model_checkpoint,
    load_pretrained,
    parts_at_random,
)
from mmseg_ovs.structures import VisualFeatures, Vocabulary
from mmseg_ovs.utils import MissingLibraryError, OpenVocabError
from tests.models.segmentors.running import FEATURES, make_image, scores
from tests.tiny import (
    BACKBONES,
    TEXT_ENCODERS,
    WIDTH,
    build,
    groupvit,
    make,
    shake,
)
from tools.dev.parity import Golden

IMAGE = make_image(40, 56)
NATIVE = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
CONFIG = groupvit()['backbone']
SIZES = CONFIG['config']
THINGS = [f'thing {i}' for i in range(9)]


@pytest.fixture
def new(tmp_path):
    """Builds GroupViT with its text tower; arguments replace parts of its config."""
    return partial(build, groupvit, tmp_path, text_encoder=TEXT_ENCODERS['GroupViT'])


@pytest.fixture(scope='module')
def theirs():
    """A model of transformers of the same sizes, in which every weight counts."""
    from transformers import GroupViTConfig, GroupViTModel

    torch.manual_seed(4)
    sizes = dict(SIZES, num_hidden_layers=4)
    config = GroupViTConfig(
        vision_config=sizes,
        text_config=TEXT_ENCODERS['GroupViT']['config'],
        projection_dim=WIDTH,
        projection_intermediate_dim=24,
    )
    model = shake(GroupViTModel(config)).eval()
    for projection in (model.visual_projection, model.text_projection):
        projection[1].running_mean.normal_()
        projection[1].running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(params=['model.safetensors', 'pytorch_model.bin'])
def published(request, theirs, tmp_path):
    """Its file, as both forms are published."""
    path, state = tmp_path / request.param, theirs.state_dict()
    if path.suffix == '.bin':  # older files hold the table of positions
        state['text_model.embeddings.position_ids'] = torch.arange(77)[None]
        torch.save(state, path)
    else:
        save_file(state, path)
    return path


# ---------------------------------------------------------------------- weights
@torch.no_grad()
def check_towers(model, theirs):
    """Groups, their mean, text and scale are those of transformers."""
    vision = theirs.vision_model(NATIVE)
    features = model.backbone(NATIVE)
    assert_close(
        features.cls_token,
        theirs.visual_projection(vision.pooler_output),
        rtol=1e-4,
        atol=1e-5,
    )
    groups = theirs.visual_projection(vision.last_hidden_state[1])
    assert_close(features.registers[1], groups, rtol=1e-4, atol=1e-5)
    encoder = model.text_encoder
    texts = ['a photo of a cat.', 'wall']
    tokens = encoder.tokenizer(texts)
    pooled = theirs.text_model(tokens).pooler_output
    text = theirs.text_projection(pooled)
    assert_close(encoder.encode(texts), text, rtol=1e-4, atol=1e-5)
    assert model.decode_head.logit_scale == theirs.logit_scale


def test_a_file_of_transformers(new, theirs, published):
    by_command = new()
    load_model_checkpoint(by_command, published)
    check_towers(by_command, theirs)
    init = dict(type='Pretrained', checkpoint=str(published))
    whole = new(init_cfg=init)
    whole.init_weights()
    check_towers(whole, theirs)


def test_every_part_takes_its_own_of_the_file(new, theirs, published):
    """As in the shipped configs."""
    shipped = compose('groupvit_gcc-yfcc', 'voc20').model
    parts = dict(
        backbone=CONFIG,
        text_encoder=TEXT_ENCODERS['GroupViT'],
        decode_head=groupvit()['decode_head'],
    )
    init = {
        name: dict(shipped[name].init_cfg, checkpoint=str(published)) for name in parts
    }
    model = new(**{k: dict(v, init_cfg=init[k]) for k, v in parts.items()})
    assert parts_at_random(model) == []
    model.init_weights()
    check_towers(model, theirs)


def test_text_vectors_of_a_file_leave_the_text_tower_out(new, theirs, published):
    model = build(groupvit, published.parent)
    load_model_checkpoint(model, published)
    assert model.decode_head.logit_scale == theirs.logit_scale


def test_own_checkpoints(new, tmp_path):
    source, other = new(), new()
    source.decode_head.logit_scale.fill_(3.0)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'own.pth')
    load_model_checkpoint(other, tmp_path / 'own.pth')
    assert torch.equal(scores(other, IMAGE), scores(source, IMAGE))


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('visual_projection.3.bias', None, r'1 missing: backbone\.visual_projection'),
        ('text_projection.3.bias', None, r'1 missing: text_encoder\.tower\.text_proj'),
        ('logit_scale', None, r'1 missing: decode_head\.logit_scale'),
        ('surprise', torch.ones(1), r'GroupViT(.|\n)*1 unexpected: backbone\.surprise'),
        ('logit_scale', torch.tensor(math.nan), r'NaN.*decode_head\.logit_scale'),
    ],
)
def test_every_key_is_accounted_for(new, theirs, tmp_path, key, value, message):
    state = {**theirs.state_dict(), key: value}
    state = {key: value for key, value in state.items() if value is not None}
    torch.save(state, tmp_path / 'groupvit.bin')
    with pytest.raises(CheckpointError, match=message):
        load_model_checkpoint(new(), tmp_path / 'groupvit.bin')


def test_weights_of_another_size_are_listed(new, published):
    sizes = dict(SIZES, num_group_tokens=[8, 4, 0], num_output_groups=[8, 4, 4])
    model = new(backbone=dict(CONFIG, config=sizes))
    stage = r'backbone\.vision_model\.encoder\.stages\.0'
    with pytest.raises(
        CheckpointError,
        match=rf'file of GroupViT(.|\n)*of another shape: {stage}\.group_token: '
        r'checkpoint \(1, 6, 16\), model \(1, 8, 16\)',
    ):
        load_model_checkpoint(model, published)
    part = make(CONFIG, config=dict(SIZES, image_size=64))
    with pytest.raises(
        CheckpointError,
        match=r'GroupViTImageEncoder\. It looks like a file of GroupViT(.|\n)*1 of '
        r'another shape: vision_model\.embeddings\.position_embeddings',
    ):
        load_pretrained(part, published)


@torch.no_grad()
def test_the_authors_file_equals_that_of_transformers(tmp_path):
    """Against weights that transformers' own model takes under its names."""
    golden = Golden.read('tests/data/golden/groupvit.safetensors')
    model = make(
        CONFIG,
        config=dict(
            SIZES,
            hidden_size=24,
            intermediate_size=96,
            num_attention_heads=4,
        ),
        projection_channels=36,
        out_channels=20,
    )
    path = tmp_path / 'group_vit.pth'
    torch.save(dict(model=golden.weights, epoch=29), path)
    load_pretrained(model, path)
    features = model(golden.inputs['image_grid'])
    expected = golden.outputs['grid.mean_feature']
    assert_close(features.cls_token, expected, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------- image tower
@torch.no_grad()
def test_any_size(theirs):
    """transformers refuses others than its own; positions are resized."""
    encoder = make(CONFIG)
    with pytest.raises(ValueError, match="doesn't match model"):
        theirs.vision_model(torch.zeros(1, 3, 40, 56))
    (assignment,), mean, groups, *_ = encoder(torch.randn(2, 3, 40, 50))
    assert assignment.shape == (2, 4, 5, 7) and groups.shape == (2, 4, WIDTH)
    assert mean.shape == (2, WIDTH)
    assert_close(assignment.sum(dim=1), torch.ones(2, 5, 7))  # soft, over the groups
    small = encoder(torch.randn(1, 3, 3, 9)).maps[0]
    assert small.shape[-2:] == (1, 2)


def test_frozen_and_without_chance():
    encoder = make(CONFIG).train()
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any(m.training for m in encoder.modules())
    one, two = (encoder(NATIVE) for _ in range(2))
    assert torch.equal(one.registers, two.registers)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(hidden_sizes=16), "GroupViTVisionConfig has no 'hidden_sizes'; it has"),
        (
            dict(num_output_groups=[5, 4, 4]),
            r'takes num_output_groups\[0\]=5 tokens and gets num_group_tokens\[0\]=6',
        ),
        (dict(num_group_tokens=[0, 0, 0]), 'no stage that groups patches'),
    ],
)
def test_stages_that_do_not_fit(changes, message):
    with pytest.raises(OpenVocabError, match=message):
        make(CONFIG, config={**SIZES, **changes})


@pytest.mark.parametrize('cfg', [CONFIG, TEXT_ENCODERS['GroupViT']])
def test_without_transformers(cfg, monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    message = r'GroupViT needs transformers .*pip install .*mmseg_ovs\[groupvit\]'
    with pytest.raises(MissingLibraryError, match=message):
        make(cfg)


# -------------------------------------------------------------------------- head
def plain_scores(head, features, text):
    """The authors' formula, image by image and class by class."""
    found = []
    for image in range(len(features.registers)):
        scale = min(head.logit_scale.exp().item(), 100)
        groups = F.normalize(features.registers[image], dim=-1)
        logits = scale * groups @ text.T  # (G, R)
        fit = F.normalize(features.cls_token[image], dim=-1) @ text.T
        chosen = fit.argsort(descending=True)[: head.top_classes]
        few = torch.zeros_like(logits)
        few[:, chosen] = logits[:, chosen].softmax(dim=-1)
        matrix = few * logits.softmax(dim=-1)
        size = features.image.shape[-2:]
        maps = F.interpolate(features.maps[-1][[image]], size, mode='bilinear')[0]
        one_hot = F.one_hot(maps.argmax(dim=0), len(groups)).float()
        found.append((one_hot @ matrix).permute(2, 0, 1))
    return torch.stack(found)


def features(groups=4):
    draw = torch.Generator().manual_seed(1)
    shapes = (2, groups, 3, 4), (2, WIDTH), (2, groups, WIDTH), (2, 3, 24, 30)
    maps, mean, tokens, image = (torch.randn(s, generator=draw) for s in shapes)
    return VisualFeatures((maps.softmax(1),), mean, tokens, image=image)


def text_of(rows):
    draw = torch.Generator().manual_seed(2)
    return F.normalize(torch.randn(rows, WIDTH, generator=draw), dim=-1)


@pytest.mark.parametrize('groups', [1, 4])
@pytest.mark.parametrize('rows', [1, 2, 5, 6, 12])
@pytest.mark.parametrize('scale', [2.0, 9.0])
@torch.no_grad()
def test_the_formula(rows, groups, scale):
    """With more and fewer than five rows, one group, a scale that is cut at 100."""
    head = GroupViTHead(WIDTH)
    head.logit_scale.fill_(scale)
    given = features(groups)
    ours = head(given, text_of(rows))
    assert ours.shape == (2, rows, 24, 30)
    assert_close(ours, plain_scores(head, given, text_of(rows)), rtol=1e-4, atol=1e-6)
    assert ((ours > 0).flatten(2).any(2).sum(1) <= 5).all()  # rows that any pixel has
    if groups == 1:
        assert torch.equal(ours, ours[..., :1, :1].expand_as(ours))


@torch.no_grad()
def test_as_many_rows_as_asked_for():
    head = GroupViTHead(WIDTH, top_classes=3)
    head.logit_scale.fill_(0.0)
    ours = head(features(), text_of(12))
    assert ((ours > 0).flatten(2).any(2).sum(1) == 3).all()
    order = torch.randperm(12)
    assert_close(head(features(), text_of(12)[order]), ours[:, order])


@pytest.mark.parametrize('threshold', [0.95, 0.1])
@torch.no_grad()
def test_background(threshold):
    """A plane of 0 and 1 in front; the others keep their scores."""
    plain = GroupViTHead(WIDTH)
    head = GroupViTHead(WIDTH, background_threshold=threshold)
    for each in (plain, head):
        each.logit_scale.fill_(1.5)
    quarters = torch.eye(4).view(1, 4, 2, 2).expand(2, -1, -1, -1)  # one a group
    given = features()._replace(maps=(quarters,))
    others = plain(given, text_of(8))
    row = torch.randn(1, WIDTH)  # what its name means is not read
    ours = head(given, torch.cat([row, text_of(8)]))
    assert torch.equal(ours[:, 1:], others)
    best = others.amax(dim=1)
    limit = best.amax(dim=(1, 2), keepdim=True).clamp(max=threshold)
    assert torch.equal(ours[:, 0], (best < limit).float())
    assert 0 < ours[:, 0].mean() < 1


def test_background_of_own_words(new):
    head = dict(groupvit()['decode_head'], background_threshold=0.95)
    model = new(decode_head=head, vocabulary=['background', *THINGS])
    maps = scores(model, IMAGE)
    other = scores(
        model,
        IMAGE,
        vocabulary=dict(
            source=THINGS, background=dict(type='names', names=['nothing at all'])
        ),
    )
    # not bit-equal: several threads may add in another order
    torch.testing.assert_close(maps, other)
    first = 'the first class and has one name'
    for words in (
        THINGS,
        [*THINGS, 'background'],
        [['background', 'sky'], *THINGS],
        ['background'],
        [[*THINGS[:2], 'background']],
        dict(source=THINGS, background=dict(type='threshold', value=0.5)),
    ):
        with pytest.raises(OpenVocabError, match=first):
            scores(model, IMAGE, vocabulary=words)
        with pytest.raises(OpenVocabError, match=first):
            model.check_vocabulary(Vocabulary.build(words))


@pytest.mark.parametrize('threshold', [None, 0.95])
def test_one_name_gets_every_pixel(new, threshold):
    head = dict(groupvit()['decode_head'], background_threshold=threshold)
    words = ['cat'] if threshold is None else ['background', 'cat']
    with pytest.warns(UserWarning, match="'cat' is the only name .* every pixel"):
        maps = scores(new(decode_head=head), IMAGE, vocabulary=words)
    assert (maps[-1] == 1).all() and (maps[:-1] == 0).all()


@pytest.mark.parametrize('data', ['voc21', 'coco-object', 'context60', 'voc20'])
def test_backgrounds_of_the_shipped_configs(data):
    cfg = compose('groupvit_gcc-redcaps', data)
    head, threshold = cfg.model.decode_head, dict(context60=0.35, voc20=None)
    assert head.get('background_threshold') == threshold.get(data, 0.95)
    vocabulary = data_vocabulary(cfg)
    make({k: v for k, v in head.items() if k != 'init_cfg'}).check_vocabulary(
        vocabulary
    )
    assert 'tvmonitor' not in vocabulary.classes or data == 'voc20'


# --------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(top_classes=0), 'top_classes has to be at least 1'),
        (dict(background_threshold=0), r'background_threshold has to be in 0\.\.1'),
        (dict(background_threshold=35), r'background_threshold has to be in 0\.\.1'),
    ],
)
def test_wrong_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        GroupViTHead(WIDTH, **wrong)


def test_other_parts(new):
    with pytest.raises(ValueError, match=f'of {WIDTH} numbers, but the text encoder'):
        new(text_encoder=dict(TEXT_ENCODERS['GroupViT'], embed_dims=8))
    for backbone in (BACKBONES['DINOv3'], dict(CONFIG, out_channels=8)):
        model = new(backbone=backbone)
        with pytest.raises(
            OpenVocabError, match=r'GroupViTImageEncoder\(out_ch.*=16\)'
        ):
            scores(model, IMAGE)
    with pytest.raises(
        OpenVocabError, match="cannot score features .* use mode 'slide'"
    ):
        new(test_cfg=FEATURES)
    with pytest.raises(OpenVocabError, match='for inference only'):
        new()(torch.randn(1, 3, 32, 32), [], mode='loss')
