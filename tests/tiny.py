"""Tiny models for all tests: a config of every kind of module and of every method.

``make(BACKBONES['DINOv3'])`` builds a module in which every weight counts;
``build(talk2dino, folder)`` builds a whole model, ``config`` gives its config.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import nn

from mmseg_ovs.models.text_encoders import save_embeddings

NAMES = ['sand', 'red disc', 'blue bar', 'sky', 'moss']
WIDTH = 16  # channels of features and of most text vectors
GROUPS = dict(type='GN', num_groups=4)
PIXELS = dict(
    type='OpenVocabDataPreProcessor',
    mean=[120.0, 110.0, 100.0],
    std=[60.0, 55.0, 50.0],
    bgr_to_rgb=True,
)
VIT = dict(embed_dims=WIDTH, depth=2, num_heads=2, feed_forward='mlp')
SAM = dict(
    type='SAMImageEncoder',
    arch=dict(embed_dims=WIDTH, depth=2, num_heads=2, global_attn_indexes=(1,)),
    img_size=32,
    patch_size=8,
    window_size=3,
    out_channels=8,
)
CLIP_VISION = dict(width=32, head_width=8, layers=2, patch_size=8, image_size=32)
CLIP_TEXT = dict(width=16, heads=2, layers=2)

BACKBONES = {
    'DINOv2': dict(type='DINOv2', arch=VIT, img_size=56),
    'DINOv2 with registers': dict(
        type='DINOv2', arch=VIT, img_size=56, num_registers=4
    ),
    'DINOv3': dict(type='DINOv3', arch=VIT, num_registers=2, patch_size=8),
    'CLIP': dict(
        type='OpenCLIPImageEncoder',
        model=dict(embed_dim=WIDTH, quick_gelu=True, vision_cfg=CLIP_VISION),
    ),
    'SAM': SAM,
}
BACKBONES['dense CLIP'] = dict(BACKBONES['CLIP'], last_block='catseg')
STOCK_BACKBONES = {
    'ResNet': dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8),
    'MixVisionTransformer': dict(
        type='MixVisionTransformer',
        embed_dims=8,
        num_layers=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
    ),
}
TEXT_ENCODERS = {
    'open_clip': dict(
        type='OpenCLIPTextEncoder',
        model=dict(embed_dim=WIDTH, text_cfg=CLIP_TEXT),
        templates='imagenet_7',
    ),
    'dino.txt': dict(
        type='DinoTxtTextEncoder',
        embed_dims=WIDTH,
        width=16,
        depth=1,
        num_heads=2,
        templates='imagenet_7',
    ),
}
TEXT_ENCODERS['GroupViT'] = dict(
    type='GroupViTTextEncoder',
    config=dict(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2
    ),
    projection_channels=24,
    embed_dims=WIDTH,
    templates='imagenet_7',
    template_average='normalized',
)
# Texts of 8, 2, 3, 77 (cut, so that the end token is the last one) and 16 tokens.
TEXTS = [
    'a photo of a cat.',
    '',
    'wall',
    'word ' * 100,
    'a very striking photo of the large traffic light, seen from below.',
]
NECKS = {
    'AnyUp': dict(type='AnyUp', output_size=2, qk_dim=8),
    'dino.txt': dict(
        type='DinoTxtVisionHead', embed_dims=WIDTH, num_heads=2, num_blocks=1
    ),
    'structure encoder': dict(
        type='StructureAwareEncoder',
        in_channels=[WIDTH] * 2,
        channels=16,
        out_channels=8,
        norm_cfg=GROUPS,
    ),
    'structure decoder': dict(
        type='StructureModulatedDecoder',
        in_channels=8,
        channels=WIDTH,
        gate=dict(type='PreservationGate', norm_cfg=GROUPS),
        gamma_init=0.5,
        norm_cfg=GROUPS,
    ),
    'prior': dict(type='SemanticPriorEncoder', backbone=SAM),
    'TCL': dict(type='TCLMasker', in_channels=WIDTH, out_channels=WIDTH),
    'correlation pooling': dict(
        type='CorrelationPooling', in_channels=WIDTH, channels=8
    ),
}
AGGREGATOR = dict(
    channels=32,
    num_layers=1,
    num_heads=2,
    window_size=3,
    text_guidance_dims=8,
    appearance_guidance_dims=8,
    decoder_dims=(32, 16),
    decoder_guidance_dims=(8, 4),
    class_chunk=2,
)
HEADS = {
    'text similarity': dict(
        type='TextSimilarityHead', in_channels=WIDTH, text_channels=WIDTH
    ),
    'projected text similarity': dict(
        type='TextSimilarityHead',
        in_channels=WIDTH,
        text_channels=WIDTH,
        channels=8,
        logit_scale=5.0,
        logit_bias=-1.0,
    ),
    'PixelCLIP': dict(
        type='PixelCLIPHead',
        in_channels=WIDTH,
        text_channels=WIDTH,
        feature_size=(4, 6),
    ),
    'Talk2DINO': dict(type='Talk2DINOHead', in_channels=WIDTH, text_channels=20),
    'OVS-DINO': dict(
        type='OVSDINOHead', in_channels=WIDTH, text_channels=20, activation='sigmoid'
    ),
    'CAT-Seg': dict(
        type='CostAggregationHead',
        in_channels=WIDTH,
        stride=8,
        prompt_channels=2,
        appearance_guidance=dict(index=2, channels=WIDTH),
        decoder_guidance=[
            dict(index=0, channels=32, stride=8, upsampled_channels=16),
            dict(index=1, channels=32, stride=8, upsampled_channels=8),
        ],
        aggregator=dict(AGGREGATOR, pad_len=8, test_pooling=(1, 1)),
    ),
    'TCL': dict(type='TCLHead', in_channels=WIDTH, text_channels=WIDTH),
    # One map of features, then two blocks and the neck of SAM.
    'dinov3.seg': dict(
        type='CostAggregationHead',
        in_channels=WIDTH,
        in_index=0,
        stride=8,
        text_parts=2,
        prompt_channels=2,
        appearance_guidance=dict(index=3, channels=8),
        decoder_guidance=[
            dict(index=2, channels=WIDTH, stride=8, upsampled_channels=6),
            dict(index=1, channels=WIDTH, stride=8, upsampled_channels=6),
        ],
        aggregator=dict(AGGREGATOR, window_size=4),
    ),
}
POSTPROCESSORS = {
    'background cleaning': dict(type='BackgroundCleaning'),
    'PAMR': dict(type='PAMR'),
    'pixel propagation': dict(type='PixelPropagation', window=5, tau=0.3),
    'score mix': dict(type='ScoreMix'),
    'uncertain background': dict(type='UncertainBackground', in_channels=WIDTH),
}


def talk2dino() -> dict:
    """Positions of another grid, class-token attention that no map needs."""
    return dict(
        backbone=dict(
            BACKBONES['DINOv2 with registers'], extra_outputs=('cls_attention',)
        ),
        decode_head=HEADS['Talk2DINO'],
        postprocessors=[POSTPROCESSORS['PAMR']],
        test_cfg=dict(mode='slide', crop_size=(42, 42), stride=(28, 28)),
    )


def ovs_dino() -> dict:
    """Both necks; positions by scale factor, windows stretched to the patch."""
    return dict(
        backbone=dict(
            BACKBONES['DINOv2'],
            out_indices=(0, 1, 1),
            final_norm=(False, False, True),
            fit='resize',
        ),
        neck=[NECKS['structure encoder'], NECKS['structure decoder']],
        decode_head=HEADS['OVS-DINO'],
        test_cfg=dict(mode='slide', crop_size=(40, 40), stride=(28, 28)),
    )


def dinotxt() -> dict:
    """Rotary positions, vision head, features of two windows and of the whole."""
    return dict(
        backbone=dict(
            BACKBONES['DINOv3'], patch_size=16, extra_outputs=('cls_token', 'registers')
        ),
        neck=NECKS['dino.txt'],
        decode_head=HEADS['text similarity'],
        test_cfg=dict(
            mode='local-global',
            aggregation='features',
            image_size=(48, 32),
            crop_size=(32, 32),
            stride=(16, 16),
        ),
    )


def cat_seg() -> dict:
    """Dense CLIP, 8 classes at most, logits of windows and of the whole image."""
    return dict(
        backbone=dict(
            BACKBONES['dense CLIP'],
            out_indices=(0, 0, 1),
            final_norm=(False, False, True),
        ),
        decode_head=HEADS['CAT-Seg'],
        test_cfg=dict(
            mode='local-global',
            aggregation='logits',
            image_size=(64, 64),
            crop_size=(40, 40),
            stride=(24, 24),
            input_size=(40, 40),
        ),
    )


def dinov3_seg() -> dict:
    """AnyUp, SAM as prior, both halves of the text."""
    backbone = dict(BACKBONES['DINOv3'], extra_outputs=('cls_token', 'registers'))
    prior = dict(SAM, window_size=2, out_indices=(0, 1), fused_attention=True)
    return dict(
        backbone=dict(
            type='BackboneWithNeck', backbone=backbone, neck=NECKS['dino.txt']
        ),
        neck=[
            dict(NECKS['AnyUp'], output_size=1, trainable=False),
            dict(NECKS['prior'], backbone=prior),
        ],
        decode_head=HEADS['dinov3.seg'],
        test_cfg=dict(mode='slide', crop_size=(40, 32), stride=(20, 16)),
    )


def dinov3_seg_wo_sam() -> dict:
    """A student on two layers of the same pass as prior, averaged over the views."""
    system = dinov3_seg()
    layers = dict(out_indices=(0, 1, 1), final_norm=(False, False, True))
    tower = dict(system['backbone'], backbone=system['backbone']['backbone'] | layers)
    finer = dict(index=0, channels=8)
    return dict(
        backbone=tower,
        neck=[system['neck'][0], NECKS['structure encoder']],
        decode_head=dict(
            HEADS['dinov3.seg'],
            in_index=1,
            appearance_guidance=dict(finer, stride=4),
            decoder_guidance=[finer, dict(finer, stride=4, upsampled_channels=6)],
        ),
        test_cfg=dict(
            mode='local-global',
            aggregation='features',
            image_size=(48, 64),
            crop_size=(32, 32),
            stride=(16, 16),
        ),
    )


def naclip() -> dict:
    """Another last block, probabilities over all names, PAMR at the original size."""
    return dict(
        backbone=dict(
            BACKBONES['CLIP'], last_block='naclip', position_offset=0.1, fit='crop'
        ),
        decode_head=HEADS['text similarity'],
        postprocessors=[dict(POSTPROCESSORS['PAMR'], stage='output')],
        test_cfg=dict(
            mode='slide', crop_size=(40, 32), stride=(20, 16), logit_scale=20
        ),
    )


@MODELS.register_module()
class AverageColours(BaseModule):
    """A backbone without weights, so that every build of it is the same."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (F.avg_pool2d(image, 16),)


def proxyclip() -> dict:
    """The attention of a backbone outside the model, on a coarser grid."""
    return dict(
        backbone=dict(
            BACKBONES['CLIP'],
            type='ProxyCLIPImageEncoder',
            proxy=dict(type='AverageColours'),
            mean=PIXELS['mean'],
            std=PIXELS['std'],
        ),
        decode_head=HEADS['text similarity'],
        test_cfg=dict(
            mode='slide', crop_size=(48, 32), stride=(24, 16), logit_scale=20
        ),
    )


def clip_dinoiser() -> dict:
    """Second norm of a block, pooling by correlations, softmax on the grid."""
    return dict(
        backbone=dict(
            BACKBONES['CLIP'],
            last_block='maskclip',
            out_indices=(0, 1),
            final_norm=('norm2', True),
        ),
        neck=dict(NECKS['correlation pooling'], in_channels=CLIP_VISION['width']),
        decode_head=dict(
            HEADS['text similarity'], logit_scale=5.0, activation='softmax'
        ),
        test_cfg=dict(mode='slide', crop_size=(40, 40), stride=(24, 24)),
    )


def tcl() -> dict:
    """Frozen CLIP below the masker; refinement and CLIP's share on the fine grid."""
    return dict(
        backbone=dict(
            BACKBONES['CLIP'],
            last_block='maskclip',
            out_indices=(0, 1),
            final_norm=(False, True),
            fit='resize',
            trainable=False,
        ),
        neck=dict(NECKS['TCL'], in_channels=CLIP_VISION['width']),
        decode_head=HEADS['TCL'],
        postprocessors=[
            dict(POSTPROCESSORS['PAMR'], stage='grid'),
            POSTPROCESSORS['score mix'],
        ],
        test_cfg=dict(mode='slide', crop_size=(40, 40), stride=(24, 24)),
    )


def lposs() -> dict:
    """Scores propagated over patches of all windows on another grid, then pixels."""
    return dict(
        backbone=dict(BACKBONES['CLIP'], last_block='maskclip'),
        decode_head=HEADS['text similarity'],
        graph=dict(backbone=dict(type='AverageColours')),
        postprocessors=[POSTPROCESSORS['pixel propagation']],
        test_cfg=dict(
            mode='slide',
            crop_size=(48, 32),
            stride=(24, 16),
            propagation=dict(neighbours=9),
        ),
    )


def groupvit() -> dict:
    """Six and then four groups of patches; scores at the size of a window."""
    return dict(
        backbone=dict(
            type='GroupViTImageEncoder',
            config=dict(
                hidden_size=16,
                intermediate_size=32,
                depths=[2, 1, 1],
                num_attention_heads=2,
                num_group_tokens=[6, 4, 0],
                num_output_groups=[6, 4, 4],
                image_size=32,
                patch_size=8,
            ),
            projection_channels=24,
            out_channels=WIDTH,
        ),
        decode_head=dict(type='GroupViTHead', text_channels=WIDTH),
        test_cfg=dict(mode='slide', crop_size=(40, 40), stride=(24, 24)),
    )


# Method and the shape of the text vectors of one name.
SYSTEMS = {
    talk2dino: (20,),
    ovs_dino: (20,),
    dinotxt: (WIDTH,),
    cat_seg: (2, WIDTH),
    dinov3_seg: (2 * WIDTH,),
    dinov3_seg_wo_sam: (2 * WIDTH,),
    naclip: (WIDTH,),
    proxyclip: (WIDTH,),
    tcl: (WIDTH,),
    clip_dinoiser: (WIDTH,),
    lposs: (WIDTH,),
    groupvit: (WIDTH,),
}


def vectors(path: Path, names: Sequence[str], *shape: int) -> dict:
    """Write random text vectors of that shape; the config of the encoder of them."""
    generator = torch.Generator().manual_seed(7)
    embeddings = torch.randn(len(names), *shape, generator=generator)
    save_embeddings(path, names, embeddings)
    return dict(type='PrecomputedTextEncoder', path=str(path))


def config(
    system: Callable[[], dict], folder: Path, names: Sequence[str] = NAMES, **parts
) -> Config:
    """Config of a method; text vectors come from a file in the folder.

    Args:
        system: One of :data:`SYSTEMS`.
        folder: Where the vectors are written.
        names: The vocabulary.
        **parts: Replace parts of the model's config.
    """
    path = Path(folder) / f'{system.__name__}.safetensors'
    model = dict(
        type='OpenVocabSegmentor',
        data_preprocessor=PIXELS,
        text_encoder=vectors(path, names, *SYSTEMS[system]),
        vocabulary=list(names),
        **system(),
    )
    model = copy.deepcopy({**model, **parts})
    return Config(dict(default_scope='mmseg', model=model))


def build(
    system: Callable[[], dict], folder: Path, names: Sequence[str] = NAMES, **parts
) -> nn.Module:
    """A method's model (see :func:`config`) in which every weight counts."""
    return make(config(system, folder, names, **parts).model)


def make(cfg: dict, **changes) -> nn.Module:
    """Build a module of a config with changes; random weights, all of which count."""
    torch.manual_seed(0)
    return shake(MODELS.build({**copy.deepcopy(dict(cfg)), **changes})).eval()


def shake(module: nn.Module) -> nn.Module:
    """Add noise to every parameter, so that none is zero or one."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return module


def separate_projections(state: dict) -> dict:
    """A CLIP's state dict with queries, keys and values apart, as CAT-Seg has it."""
    separate = {}
    for key, value in state.items():
        if key.endswith('in_proj_weight'):
            for part, weight in zip('qkv', value.chunk(3), strict=True):
                separate[key.replace('in_proj', f'{part}_proj')] = weight.clone()
        else:
            separate[key] = value
    return separate
