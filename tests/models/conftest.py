"""A tiny segmentor whose text vectors come from a file."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.text_encoders import save_embeddings

NAMES = [f'thing {i}' for i in range(12)]


@pytest.fixture
def build_segmentor(tmp_path):
    """Builds a segmentor; keyword arguments replace parts of the config."""
    generator = torch.Generator().manual_seed(7)
    path = tmp_path / 'text.safetensors'
    save_embeddings(path, NAMES, torch.randn(len(NAMES), 20, generator=generator))

    def build(**parts):
        torch.manual_seed(3)
        cfg = dict(
            type='OpenVocabSegmentor',
            data_preprocessor=dict(
                type='OpenVocabDataPreProcessor',
                mean=[120.0, 110.0, 100.0],
                std=[60.0, 55.0, 50.0],
                bgr_to_rgb=True,
                size=(56, 56),
            ),
            backbone=dict(
                type='DINOv2',
                arch=dict(embed_dims=16, depth=2, num_heads=2, feed_forward='mlp'),
                num_registers=4,
                img_size=56,
                layer_scale=None,
                extra_outputs=('cls_attention',),
            ),
            text_encoder=dict(type='PrecomputedTextEncoder', path=str(path)),
            decode_head=dict(type='Talk2DINOHead', in_channels=16, text_channels=20),
            vocabulary=NAMES,
            test_cfg=dict(mode='slide', crop_size=(42, 42), stride=(28, 28)),
        )
        model = MODELS.build({**cfg, **parts})
        model.init_weights()
        return model.eval()

    return build
