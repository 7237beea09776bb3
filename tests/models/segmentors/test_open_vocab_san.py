"""SAN with a vocabulary that can change, against MMSegmentation's own model."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ovs.acceleration import accelerate
from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.composition import compose
from mmseg_ovs.evaluation.protocol import describe_protocol
from mmseg_ovs.export import ExportError, export_model
from mmseg_ovs.models.segmentors import build_temporal
from mmseg_ovs.models.utils import CheckpointError, load_model_checkpoint
from mmseg_ovs.structures import VocabularyError
from mmseg_ovs.utils import OpenVocabError
from tests.models.text_encoders.test_san import inputs, san_config
from tests.tiny import CLIP_TEXT, TEXT_ENCODERS, WIDTH, make, vectors

CLASSES = ['sky', 'tree', 'road']
TEMPLATES = ['a photo of a {}.', 'there is a {} in the scene']
TOWER = dict(
    type='OpenCLIPTextEncoder',
    model=dict(embed_dim=WIDTH, quick_gelu=True, text_cfg=CLIP_TEXT),
    templates=TEMPLATES,
)
SIZE = (70, 100)  # of an image; no side is a multiple of 32


def config(encoder=TOWER, train=False, **changes):
    cfg = san_config(dict(type='SANTextEncoder', encoder=encoder))
    cfg.update(type='OpenVocabSAN', **changes)
    cfg.data_preprocessor = dict(
        cfg.data_preprocessor, type='OpenVocabDataPreProcessor', test_cfg=None
    )
    if not train:
        cfg.decode_head.train_cfg = None
    return cfg


def build(**changes):
    return make(config(**changes))


def image(size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, *size, generator=generator)


def pixels(size=SIZE):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)


def scores(model, vocabulary=None, inputs=None, **test_cfg):
    inputs = image() if inputs is None else inputs
    (sample,) = model.predict(
        inputs, vocabulary=vocabulary, keep_logits=True, **test_cfg
    )
    assert torch.equal(sample.pred_sem_seg.data[0], sample.seg_logits.data.argmax(0))
    return sample.seg_logits.data


def spread(model):
    """Random masks and their embeddings are almost alike; their means are taken off."""
    head = model.decode_head
    norm = head.rec_with_attnbias.ln_post
    pixels = head.side_adapter_network.mask_decoder.pix_mlp
    seen = {}
    hooks = [
        module.register_forward_hook(lambda m, _, out: seen.update({m: out}))
        for module in (norm, pixels)
    ]
    with torch.no_grad():
        model(image(), mode='predict')
    for hook in hooks:
        hook.remove()
    norm.bias.data -= seen[norm].mean(dim=(0, 1))
    pixels.layers[-1].bias.data -= seen[pixels].mean(dim=(0, 2, 3))
    model.text_encoder.logit_scale.data.fill_(5.0)
    return model


@pytest.fixture(scope='module')
def model():
    model = spread(build(vocabulary=CLASSES))
    model.vocabulary = None
    return model


@pytest.fixture(scope='module')
def stock():
    """mmseg's model with mmseg's text tower."""
    tower = dict(
        type='CLIPTextEncoder',
        vocabulary=CLASSES,
        templates=TEMPLATES,
        embed_dims=CLIP_TEXT['width'],
        num_layers=CLIP_TEXT['layers'],
        num_heads=CLIP_TEXT['heads'],
        output_dims=WIDTH,
        cache_feature=False,
    )
    cfg = san_config(tower)
    cfg.data_preprocessor.test_cfg = dict(size_divisor=32)
    cfg.decode_head.train_cfg = None
    model = make(cfg)
    for name in ('positional_embedding', 'text_projection'):  # mmseg leaves them as is
        torch.nn.init.normal_(getattr(model.text_encoder, name), std=0.3)
    return spread(model)


@pytest.fixture(scope='module')
def checkpoint(stock, tmp_path_factory):
    """The file that mmseg would write of it."""
    path = tmp_path_factory.mktemp('san') / 'san.pth'
    meta = dict(dataset_meta=dict(classes=tuple(CLASSES)))
    torch.save(dict(meta=meta, state_dict=stock.state_dict()), path)
    return path


def test_the_vocabulary_of_a_call_is_as_good_as_that_of_the_model(model):
    given = scores(model, [*CLASSES, 'car'])
    assert given.shape == (4, *SIZE) and model.vocabulary is None
    built = spread(build(vocabulary=[*CLASSES, 'car']))
    assert built.num_classes == 4
    torch.testing.assert_close(scores(built), given)
    built.set_vocabulary(CLASSES)
    assert scores(built).shape == (3, *SIZE)


def test_the_order_of_classes_does_not_matter(model):
    forth = scores(model, CLASSES)
    assert forth.std() > 0
    torch.testing.assert_close(scores(model, CLASSES[::-1]).flip(0), forth)


def test_chunks_and_a_window_of_all_change_nothing(model):
    whole = scores(model, CLASSES)
    one_by_one = scores(model, CLASSES, chunk_mb=1e-6)
    torch.testing.assert_close(one_by_one, whole)
    window = dict(mode='slide', crop_size=SIZE, stride=SIZE)
    torch.testing.assert_close(scores(model, CLASSES, **window), whole)


def test_images_of_a_batch_are_as_if_alone(model):
    """Padding to the largest of the batch and to multiples of 32 has no effect."""

    def predict(*images):
        samples = [
            SegDataSample(metainfo=dict(ori_shape=image.shape[1:])) for image in images
        ]
        data = model.data_preprocessor(dict(inputs=images, data_samples=samples))
        results = model.predict(**data, vocabulary=CLASSES, keep_logits=True)
        return [result.seg_logits.data for result in results]

    images = [pixels(SIZE), pixels((40, 50))]
    for together, image in zip(predict(*images), images, strict=True):
        (alone,) = predict(image)
        assert together.shape == (3, *image.shape[1:])
        torch.testing.assert_close(together, alone)


@pytest.mark.filterwarnings('ignore')
def test_a_synonym_takes_nothing_from_its_class(model):
    """Names of equal tokens are one name."""
    expected = scores(model, CLASSES)
    twice = [['sky', 'Sky'], 'tree', 'road']
    torch.testing.assert_close(scores(model, twice), expected)


def test_in_each_mask_a_class_has_the_logit_of_its_best_name(model):
    rows = ['sky', 'cloud', 'tree']
    (found,) = model.find_masks(image(), model.project_vocabulary(rows))
    best = found.text[:, :2].amax(dim=1, keepdim=True)
    logits = torch.cat([best, found.text[:, 2:]], dim=1)
    masks = torch.nn.functional.interpolate(
        found.logits[None], found.padded, mode='bilinear'
    )[0, :, : SIZE[0], : SIZE[1]].sigmoid()
    weights = logits.softmax(dim=-1)[:, :-1]
    expected = torch.einsum('qn,qhw->nhw', weights, masks)
    given = scores(model, [['sky', 'cloud'], 'tree'])
    torch.testing.assert_close(given, expected)


def test_a_background_score_is_a_score_like_the_others(model):
    found = scores(model, CLASSES)
    limit = found.amax(dim=0).median().item()
    rule = dict(type='threshold', value=limit)
    vocabulary = dict(source=CLASSES, background=rule)
    (sample,) = model.predict(image(), vocabulary=vocabulary)
    expected = found.argmax(0) + 1
    expected[found.amax(dim=0) <= limit] = 0
    labels = sample.pred_sem_seg.data[0]
    assert (labels == expected).float().mean() > 0.99
    assert 0.4 < (labels == 0).float().mean() < 0.6


def test_a_file_of_mmseg_gives_what_mmseg_gives(stock, checkpoint):
    ours = build()
    meta = load_model_checkpoint(ours, checkpoint)
    ours.dataset_meta = meta['dataset_meta']
    assert ours.vocabulary.classes == tuple(CLASSES)
    data = dict(
        inputs=[pixels()],
        data_samples=[SegDataSample(metainfo=dict(ori_shape=(35, 51), img_shape=SIZE))],
    )
    with torch.no_grad():
        (theirs,) = stock.test_step(copy.deepcopy(data))
    data = ours.data_preprocessor(data)
    (given,) = ours.predict(**data, keep_logits=True)
    torch.testing.assert_close(given.seg_logits.data, theirs.seg_logits.data)
    assert given.pred_sem_seg.data.unique().numel() > 1
    assert torch.equal(given.pred_sem_seg.data, theirs.pred_sem_seg.data)


def test_the_checkpoint_of_the_config(checkpoint, stock):
    ours = build()
    load_model_checkpoint(ours, checkpoint)
    cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
    other = MODELS.build(config() | dict(init_cfg=cfg))
    other.init_weights()
    for name, value in ours.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    with pytest.raises(OpenVocabError, match='no values to start from: give'):
        build().init_weights()


def test_precomputed_vectors_need_no_tower(checkpoint, stock, tmp_path):
    given = vectors(tmp_path / 'x.safetensors', CLASSES, WIDTH)
    ours = build(encoder=given)
    load_model_checkpoint(ours, checkpoint)
    assert torch.equal(ours.text_encoder.bg_embed, stock.text_encoder.bg_embed)
    assert not [k for k in ours.state_dict() if 'token_embedding' in k]


def test_an_own_checkpoint_loads_as_it_is(tmp_path):
    first = build()
    torch.save(first.state_dict(), tmp_path / 'own.pth')
    second = MODELS.build(config())
    load_model_checkpoint(second, tmp_path / 'own.pth')
    torch.testing.assert_close(scores(second.eval(), CLASSES), scores(first, CLASSES))


OTHERS = {
    'CAT-Seg': 'sem_seg_head.predictor.transformer.layers.0.weight',
    'san2mmseg.py': 'ov_classifier.bg_embed',
    'CLIP alone': 'decode_head.rec_with_attnbias.proj.weight',
}


@pytest.mark.parametrize('method', OTHERS)
def test_a_file_of_another_method_is_named(model, method, tmp_path):
    torch.save({OTHERS[method]: torch.zeros(2, 2)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=f'looks like a file of .*{method}'):
        load_model_checkpoint(model, tmp_path / 'other.pth')


def test_the_inferencer_runs_it_with_words_of_the_call(checkpoint, stock):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    cfg = Config(dict(default_scope='mmseg', model=config(), test_pipeline=pipeline))
    inferencer = OpenVocabInferencer(cfg, checkpoint, device='cpu')
    array = pixels().permute(1, 2, 0).numpy()
    default = inferencer(array).labels
    with torch.no_grad():
        (theirs,) = stock.test_step(
            dict(
                inputs=[pixels()],
                data_samples=[
                    SegDataSample(metainfo=dict(ori_shape=SIZE, img_shape=SIZE))
                ],
            )
        )
    assert np.array_equal(default, theirs.pred_sem_seg.data[0].numpy())
    found = inferencer(array, classes=['car', 'cat'], keep_scores=True)
    assert found.scores.shape == (2, *SIZE)
    with pytest.raises(VocabularyError, match='empty'):
        inferencer(array, classes=[])


def test_it_trains_on_its_vocabulary():
    cfg = config(train=True, vocabulary=CLASSES)
    trained = make(cfg).train()
    losses = trained.loss(*inputs())
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert trained.text_encoder.bg_embed.grad.abs().sum() > 0
    trained.set_vocabulary(['sky', 'tree'])
    with pytest.raises(OpenVocabError, match=r'class_weight .* \[1.0\] \* 2'):
        trained.loss(*inputs())
    trained.set_vocabulary([['sky', 'cloud'], 'tree', 'road'])
    with pytest.raises(OpenVocabError, match='one name a class'):
        trained.loss(*inputs())
    with pytest.raises(OpenVocabError, match='decode_head.train_cfg'):
        build(vocabulary=CLASSES).loss(*inputs())


def test_what_does_not_fit_is_said(model, tmp_path):
    with pytest.raises(RuntimeError, match='no vocabulary yet'):
        model.predict(image())
    for setting in (dict(resize_once=True), dict(seen_handicap=0.1)):
        (name,) = setting
        with pytest.raises(OpenVocabError, match=f'test_cfg.{name}'):
            model.predict(image(), vocabulary=CLASSES, **setting)
    with pytest.raises(OpenVocabError, match='test_cfg.logit_scale'):
        model.predict(image(), vocabulary=CLASSES, logit_scale=40)
    with pytest.raises(OpenVocabError, match='pretrained'):
        build(pretrained='clip.pth')
    with pytest.raises(OpenVocabError, match='no row of "no class"'):
        make(config(), text_encoder=TEXT_ENCODERS['open_clip'])
    narrow = dict(TOWER, model=dict(TOWER['model'], embed_dim=8))
    with pytest.raises(OpenVocabError, match='16 numbers, .* gives 8'):
        build(encoder=narrow)
    for processor in (dict(type='BackgroundCleaning'), dict(type='PAMR', stage='grid')):
        with pytest.raises(OpenVocabError, match=processor['type']):
            build(postprocessors=[processor])
    with pytest.raises(ValueError, match='template_average'):
        build(encoder=dict(TOWER, template_average='none'))
    with pytest.raises(ExportError, match='OpenVocabSAN'):
        export_model(model, tmp_path / 'x.onnx', size=SIZE)
    with pytest.raises(TypeError, match='OpenVocabSAN'):
        accelerate(model, bf16=True)


def test_post_processors_refine_its_scores():
    plain, refined = build(), build(postprocessors=[dict(type='PAMR')])
    expected = scores(plain, CLASSES)
    assert not torch.equal(scores(refined, CLASSES), expected)
    torch.testing.assert_close(scores(refined, CLASSES, refine=False), expected)


def test_the_protocol_says_what_clip_sees_and_which_prompts(model):
    cfg = compose('san_clip-b16', 'voc20')
    model = build(vocabulary=CLASSES)
    protocol = describe_protocol(model, cfg, seed=0)
    assert protocol['input'].startswith(
        'ResizeShortestEdge(scale=(640, 640), max_size='
    )
    assert protocol['input of CLIP'] == 'padded to multiples of 32, resized by 0.5'
    assert protocol['mode'] == 'whole'
    assert protocol['text'].startswith('OpenCLIPTextEncoder')
    assert protocol['templates'].startswith("2 templates ('a photo of a {}.'")
    assert protocol['vocabulary'].startswith('3 classes, 3 names')


@pytest.mark.parametrize('name', ['smooth', 'propagate'])
def test_masks_follow_no_strategy(name):
    with pytest.raises(OpenVocabError, match="SAN scores masks, .* use 'none'"):
        build().check_temporal(build_temporal(name))
