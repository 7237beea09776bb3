"""Time and peak memory of our parts against the plain way, interleaved in one run.

    python tools/speed/parts.py [SECTION ...] [--threads 1] [--pairs 5]

Sections: backbone, text, pamr, slide, argmax; whole systems, stage by stage, are in
``chain.py``. Every variant of a section gets the same weights and inputs, and
the largest difference of the results is printed beside the ratios. Weights are random:
the figures say nothing about quality. Peak memory is the high-water mark of the process
during one call, less what it held before.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_ovs.models.backbones import DINOv2, DINOv3
from mmseg_ovs.models.postprocessors import PAMR
from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.models.text_encoders.templates import fill_templates, get_templates
from mmseg_ovs.models.utils import RunningArgmax, load_pretrained, resize_argmax
from mmseg_ovs.structures import Vocabulary

Variant = Callable[[], Tensor]


def resident_mb(field: str = 'VmRSS') -> float:
    """Resident memory (or its high-water mark, 'VmHWM') of this process in MB."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f'no {field} in /proc/self/status')


def peak_mb(function: Variant) -> float:
    """Memory that one call needs beyond what the process holds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')  # resets the high-water mark
    before = resident_mb()
    result = function()
    peak = resident_mb('VmHWM') - before
    del result
    return peak


def compare(
    title: str,
    variants: dict[str, Variant],
    pairs: int,
    memory: dict[str, float] | None = None,
    equal: bool = True,
) -> None:
    """Print time, memory and difference of variants against the first one.

    Args:
        title: What is compared.
        variants: Functions to compare by name.
        pairs: Interleaved repetitions.
        memory: Peak memory of each, where it was measured in processes of their own.
        equal: Whether they compute the same, so that the difference says something.
    """
    results, seconds = {}, {name: [] for name in variants}
    if memory is None:
        memory = {name: peak_mb(function) for name, function in variants.items()}
    for _ in range(pairs):
        for name, function in variants.items():
            start = time.perf_counter()
            results[name] = function()
            seconds[name].append(time.perf_counter() - start)
    reference, *_ = variants
    base = statistics.median(seconds[reference])
    print(f'\n{title}')
    for name in variants:
        median = statistics.median(seconds[name])
        less = memory[reference] / max(memory[name], 0.1)
        line = (
            f'  {name:<34} {median:8.3f} s  {base / median:6.2f} x   '
            f'{memory[name]:7.0f} MB  {less:6.1f} x'
        )
        if equal:
            off = results[name].double() - results[reference].double()
            line += f'   max difference {off.abs().max().item():.1e}'
        print(line)
        sys.stdout.flush()


# --------------------------------------------------------------------- backbone
def backbone(pairs: int) -> None:
    """ViT-B at 448 x 448 against timm and transformers at the same weights."""
    import timm  # in the test environment alone, and for this section alone
    import transformers

    image = torch.randn(1, 3, 448, 448)
    widths = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12)
    v2, v3 = transformers.Dinov2Model, transformers.DINOv3ViTModel
    v2_config = transformers.Dinov2Config(**widths, image_size=448)
    v3_config = transformers.DINOv3ViTConfig(
        **widths, intermediate_size=3072, num_register_tokens=4
    )
    for title, ours, peer, tokens in (
        (
            'DINOv2 ViT-B/14 against timm',
            DINOv2('base', img_size=448),
            timm.create_model('vit_base_patch14_dinov2', img_size=448),
            lambda peer: peer.forward_features(image)[:, 1:],
        ),
        (
            'DINOv2 ViT-B/14 against transformers',
            DINOv2('base', img_size=448),
            v2(v2_config),
            lambda peer: peer(image).last_hidden_state[:, 1:],
        ),
        (
            'DINOv3 ViT-B/16 against timm',
            DINOv3('base'),
            timm.create_model('vit_base_patch16_dinov3'),
            lambda peer: peer.forward_features(image)[:, 5:],
        ),
        (
            'DINOv3 ViT-B/16 against transformers',
            DINOv3('base'),
            v3(v3_config),
            lambda peer: peer(image).last_hidden_state[:, 5:],
        ),
    ):
        load_pretrained(ours.eval(), peer.eval().state_dict())
        compare(
            f'{title}, 448 x 448',
            {
                'peer': lambda peer=peer, tokens=tokens: tokens(peer),
                'mmseg_ovs': lambda ours=ours: ours(image)[0].flatten(2).mT,
            },
            pairs,
        )


# ------------------------------------------------------------------------- text
def text(pairs: int) -> None:
    """1,000 prompts through CLIP ViT-B/16's text tower, padded against ours."""
    rows = Vocabulary.build('ade20k_847').rows
    names, templates = rows[:: len(rows) // 125][:125], get_templates('imagenet')[::10]
    prompts = fill_templates(templates, names)
    cfg = dict(type='OpenCLIPTextEncoder', model='ViT-B-16-quickgelu')
    encoder = MODELS.build(
        dict(cfg, templates=templates, template_average='none')
    ).eval()

    def padded() -> Tensor:
        tokens = encoder.tokenizer(prompts)
        return torch.cat([encoder.tower(part) for part in tokens.split(32)])

    compare(
        '1,000 prompts (125 names of ADE20K-847 x 8 templates), CLIP ViT-B/16',
        {
            'padded to 77 tokens': padded,
            'trimmed, each by itself': lambda: encoder.encode(prompts),
            'mmseg_ovs': lambda: encoder.encode_names(names).flatten(0, 1),
        },
        max(1, pairs // 3),
    )
    with tempfile.TemporaryDirectory() as folder:
        cfg = dict(cfg, cache_dir=folder, templates='imagenet_7')
        for start in ('first start', 'second start, from the cache'):
            torch.manual_seed(0)
            encoder = MODELS.build(cfg).eval()
            encoder.set_vocabulary('ade20k_150')
            begin = time.perf_counter()
            encoder()
            seconds = time.perf_counter() - begin
            print(f'  150 classes x 7 templates, {start}: {seconds:.2f} s')


# ------------------------------------------------------------------------- PAMR
def published_pamr(image: Tensor, scores: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """PAMR as published: neighbours by dilated one-hot convolutions, 30 classes a call.

    Args:
        image: RGB image (3, H, W), 0..255.
        scores: (C, H, W).
        dilations: Distances of the neighbourhoods.
    """
    kernels = torch.eye(9).view(9, 1, 3, 3)
    around = kernels[[i for i in range(9) if i != 4]]

    def gather(x: Tensor, weight: Tensor) -> Tensor:
        parts = []
        for d in dilations:
            padded = F.pad(x[:, None], [d] * 4, mode='replicate')
            parts.append(F.conv2d(padded, weight, dilation=d))
        return torch.cat(parts, dim=1)

    refined = []
    for chunk in scores.split(30):
        deviation = gather(image, kernels).std(1, keepdim=True)
        difference = gather(image, kernels[4:5] - around).abs()
        affinity = (-difference / (1e-8 + 0.1 * deviation)).mean(0).softmax(0)
        for _ in range(10):
            chunk = (gather(chunk, around) * affinity).sum(1)
        refined.append(chunk)
    return torch.cat(refined)


def pamr(pairs: int) -> None:
    """PAMR at 448 x 448 with 20 and 60 classes."""
    dilations = (1, 2, 4, 8, 12, 24)
    refiner = PAMR(10, dilations)
    for classes in (20, 60):
        image, scores = 255 * torch.rand(3, 448, 448), torch.rand(classes, 448, 448)
        compare(
            f'PAMR, {classes} classes, 448 x 448, 10 iterations',
            {
                'as published': lambda i=image, s=scores: published_pamr(
                    i, s, dilations
                ),
                'mmseg_ovs': lambda i=image, s=scores: refiner.refine(
                    s, refiner.prepare(i)
                ),
            },
            1 if classes > 20 else max(1, pairs // 3),
        )


# ------------------------------------------------------------------------ slide
def slide(pairs: int) -> None:
    """Sliding windows: ours against EncoderDecoder's loop with the same network."""
    names = [f'class {i}' for i in range(150)]
    test_cfg = dict(mode='slide', crop_size=(224, 224), stride=(112, 112))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'text.safetensors'
        save_embeddings(path, names, torch.randn(len(names), 512))
        model = MODELS.build(
            dict(
                type='OpenVocabSegmentor',
                data_preprocessor=dict(type='OpenVocabDataPreProcessor'),
                backbone=dict(type='DINOv2', arch='small'),
                text_encoder=dict(type='PrecomputedTextEncoder', path=str(path)),
                decode_head=dict(
                    type='Talk2DINOHead', in_channels=384, text_channels=512
                ),
                vocabulary=names,
                test_cfg=dict(test_cfg, keep_logits=True),
            )
        ).eval()
    text_rows = model.project_vocabulary()

    class Stock(EncoderDecoder):
        """mmseg's loop over the windows around our network."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.test_cfg = type('Cfg', (), test_cfg)
            self.out_channels = len(names)
            self.align_corners = True

        def encode_decode(self, inputs: Tensor, batch_img_metas: list) -> Tensor:
            return F.interpolate(
                model.encode_decode(inputs, text_rows),
                inputs.shape[-2:],
                mode='bilinear',
                align_corners=True,
            )

    stock = Stock()
    image = torch.randn(1, 3, 448, 672)
    meta = dict(ori_shape=(896, 1344), img_shape=(448, 672))

    def by_mmseg() -> Tensor:
        scores = stock.slide_inference(image, [dict(meta)])
        sample = SegDataSample(metainfo=meta)
        stock.postprocess_result(scores, [sample])
        return sample.pred_sem_seg.data

    def by_us() -> Tensor:
        model.test_cfg = dict(test_cfg)
        (sample,) = model.predict(image, [SegDataSample(metainfo=meta)])
        return sample.pred_sem_seg.data

    compare(
        f'slide 224/112 over 448 x 672 to 896 x 1344, ViT-S, {len(names)} classes '
        '(labels: rounding may decide single pixels)',
        {'mmseg loop and postprocess': by_mmseg, 'mmseg_ovs': by_us},
        pairs,
    )


# ----------------------------------------------------------------------- argmax
def argmax(pairs: int) -> None:
    """Resize and argmax to 1536 x 2048 against ``postprocess_result``."""
    size = (1536, 2048)
    for classes, grid in ((150, (512, 683)), (150, (128, 171)), (847, (128, 171))):
        scores = torch.randn(classes, *grid)

        def by_mmseg(scores: Tensor = scores) -> Tensor:
            stock = EncoderDecoder.__new__(EncoderDecoder)
            torch.nn.Module.__init__(stock)
            stock.align_corners = False
            sample = SegDataSample(metainfo=dict(ori_shape=size))
            stock.postprocess_result(scores[None], [sample])
            return sample.pred_sem_seg.data[0]

        def by_us(scores: Tensor = scores) -> Tensor:
            running = RunningArgmax(size, scores.device)
            resize_argmax(scores, running)
            return running.index

        compare(
            f'resize and argmax, {classes} classes, {grid} to {size}',
            {'mmseg postprocess_result': by_mmseg, 'mmseg_ovs': by_us},
            1 if classes > 150 else max(1, pairs // 2),
        )


SECTIONS = dict(backbone=backbone, text=text, pamr=pamr, slide=slide, argmax=argmax)


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('sections', nargs='*', choices=[[], *SECTIONS])
    parser.add_argument('--threads', type=int, default=1, help='torch threads')
    parser.add_argument('--pairs', type=int, default=5, help='interleaved repetitions')
    args = parser.parse_args()
    init_default_scope('mmseg')
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f'torch {torch.__version__}, {args.threads} thread(s), float32')
    with torch.inference_mode():
        for name in args.sections or SECTIONS:
            SECTIONS[name](args.pairs)


if __name__ == '__main__':
    main()
