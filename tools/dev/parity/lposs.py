"""Label propagation through the public segmentor, with given features."""

import torch
from mmengine.model import BaseModule
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_ovs.models.segmentors import LabelPropagation

from .golden import Golden, build_segmentor


class _Given(BaseModule):
    """Answers window by window with given maps (windows, C, h, w)."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = iter(maps.split(1))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (next(self.maps),)


def _values(golden: Golden) -> Tensor:
    """Values (windows, D, h, w) of the patches, from the last block's projections."""
    grid = golden.inputs['clip_features'].shape[-2:]
    values = golden.inputs['qkv'].chunk(3, dim=-1)[2]
    return values[:, 1:].transpose(1, 2).unflatten(2, grid)


def run_lposs(golden: Golden) -> dict[str, Tensor]:
    """LPOSS and LPOSS+: scores of patches and pixels, and of classes at the end."""
    constructor, picture = golden.constructor, golden.inputs['picture']
    rows, classes = constructor['rows'], constructor['classes']
    names = [f'name {i}' for i in range(rows)]
    background = rows - classes + 1
    propagation = dict(
        neighbours=constructor['k'],
        alpha=constructor['alpha'],
        gamma=constructor['gamma'],
        sigma=constructor['sigma'],
        iterations=constructor['iterations'],
    )
    pixels = dict(
        type='PixelPropagation',
        window=constructor['r'],
        tau=constructor['tau'],
        alpha=constructor['alpha'],
        iterations=constructor['iterations'],
    )
    width = golden.inputs['text'].shape[1]
    ours = {}
    for suffix, processors in (('', []), ('_plus', [pixels])):
        model = build_segmentor(
            names,
            golden.inputs['text'],
            dict(type='TextSimilarityHead', in_channels=width, text_channels=width),
            dict(
                mode='slide',
                crop_size=(constructor['crop_size'],) * 2,
                stride=(constructor['stride'],) * 2,
                propagation=propagation,
                best_name_before_resize=True,
            ),
            graph=dict(backbone=dict(type='DINOv3', arch='small')),
            vocabulary=[names[:background], *([name] for name in names[background:])],
            postprocessors=processors,
            # pictures of 0..1 to those that the post-processors see
            data_preprocessor=dict(
                type='OpenVocabDataPreProcessor', mean=[0.0] * 3, std=[255.0] * 3
            ),
        )
        ours.update(_run(model, golden, suffix))
        if processors:
            (refine,) = model.postprocessors
            merged = ours.pop('merged_plus')
            ready = refine.prepare(picture[0] * 255)
            ours['pixel_scores'] = refine.refine(merged, ready)
    return ours


def _run(model: torch.nn.Module, golden: Golden, suffix: str) -> dict[str, Tensor]:
    """Class scores at the original size, and what lies before."""
    picture = golden.inputs['picture']
    size = tuple(golden.constructor['original_size'])

    def give() -> None:
        model.backbone = _Given(golden.inputs['clip_features'])
        model.graph.proxy._network = _Given(_values(golden))

    give()
    sample = SegDataSample(metainfo=dict(ori_shape=size))
    (sample,) = model.predict(picture, [sample])
    ours = {f'masks{suffix}': sample.seg_logits.data[None]}
    give()
    inference: LabelPropagation = model.build_inference()
    layout = inference.lay_out(picture[0])
    (scores,) = inference.score([layout], model.project_vocabulary())
    ours['patch_scores'] = torch.cat([s.flatten(1).t() for s in scores])
    views = zip(scores, layout.view_sizes, strict=True)
    maps = [inference.to_view(score, view) for score, view in views]
    ours[f'merged{suffix}'] = inference.merge(maps, layout)
    return ours
