"""GroupViT, loaded from one file of the authors' layout or transformers'."""

import torch
from torch import Tensor

from mmseg_ovs.models.backbones.groupvit import groupvit_share
from mmseg_ovs.models.text_encoders import GroupViTTextTower
from mmseg_ovs.models.utils import load_pretrained

from .golden import Golden, build_segmentor, tokens_of


def run_groupvit(golden: Golden) -> dict[str, Tensor]:
    """Text, groups, assignments, scores and where the background is."""
    own = golden.constructor
    image, text, hidden = own['image'], own['text'], own['projection_hidden']
    tower = GroupViTTextTower(
        dict(
            hidden_size=text['width'],
            intermediate_size=4 * text['width'],
            num_attention_heads=text['width'] // 64,
            num_hidden_layers=text['layers'],
            max_position_embeddings=text['context_length'],
            vocab_size=text['vocab_size'],
            bos_token_id=text['vocab_size'] - 2,
            eos_token_id=text['vocab_size'] - 1,
        ),
        hidden,
        own['output_dim'],
    ).eval()
    share = groupvit_share(golden.weights, 'text_model.', 'text_projection.')
    load_pretrained(tower, share)
    vectors = torch.stack([tower(t).mean(dim=0) for t in golden.inputs['tokens']])
    config = dict(
        hidden_size=image['embed_dim'],
        intermediate_size=4 * image['embed_dim'],
        depths=image['depths'],
        num_attention_heads=image['num_heads'][0],
        num_group_tokens=image['num_group_tokens'],
        # transformers has one more, for the stage without groups
        num_output_groups=[*image['num_output_groups'], image['num_output_groups'][-1]],
        image_size=image['img_size'],
        patch_size=image['patch_size'],
    )

    def build(names: list[str], rows: Tensor, **head):
        model = build_segmentor(
            names,
            rows,
            dict(
                type='GroupViTHead',
                text_channels=own['output_dim'],
                top_classes=own['top_classes'],
                **head,
            ),
            dict(mode='whole'),
            backbone=dict(
                type='GroupViTImageEncoder',
                config=config,
                projection_channels=hidden,
                out_channels=own['output_dim'],
            ),
        )
        load_pretrained(model, dict(model=golden.weights))
        return model

    names = [f'class {i}' for i in range(len(vectors))]
    plain = build(names, vectors)
    ours = {'text': plain.decode_head.project_text(vectors)}
    with_background = {
        kind: build(
            ['background', *names],
            torch.cat([torch.ones_like(vectors[:1]), vectors]),
            background_threshold=threshold,
        )
        for kind, threshold in zip(('high', 'low'), own['thresholds'], strict=True)
    }
    for name in ('native', 'grid'):
        inputs = golden.inputs[f'image_{name}']
        features = plain.extract_feat(inputs)
        ours[f'{name}.group_features'] = features.registers
        ours[f'{name}.mean_feature'] = features.cls_token
        ours[f'{name}.soft_assignment'] = tokens_of(features.maps[0])
        ours[f'{name}.scores'] = scores(plain, inputs)[None]
        for kind, model in with_background.items():
            background, *others = scores(model, inputs)
            same = torch.equal(torch.stack(others), ours[f'{name}.scores'][0])
            ours[f'{name}.background_{kind}'] = (background == 1) & same
    return ours


def scores(model: torch.nn.Module, inputs: Tensor) -> Tensor:
    """Scores (N, H, W) of an image by the public interface."""
    (sample,) = model.predict(inputs)
    return sample.seg_logits.data
