"""Extract the frozen features for Talk2DINO's training once for all epochs.

Each image passes the backbone once, whatever its number of captions. An interrupted run
continues where it stopped, and damaged shards are recomputed:

    python tools/extract_features.py talk2dino_dinov2-reg-b14 --data coco-captions \\
        --out data/features/dinov2-reg-b14_coco-captions

The training pipeline should have no random transforms: a crop would be drawn only once,
not in every epoch.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar
from mmseg.registry import DATASETS, MODELS
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmseg_ovs.composition import (
    MODEL_KEYS,
    add_allow_random,
    add_config_arguments,
    read_config,
    require_data,
)
from mmseg_ovs.datasets.feature_files import FeatureFileError
from mmseg_ovs.datasets.feature_shards import (
    shard_name,
    verify_shard,
    write_manifest,
    write_shard,
)
from mmseg_ovs.jobs import alone, plain, require_same, sha256
from mmseg_ovs.models.utils import require_weights, weights_digest
from mmseg_ovs.utils import Device, OutputFolder, exit_with_message, remove_leftovers

# Arguments that change how features are computed or where weights come from, but not
# the features of given weights.
_NEUTRAL = {
    *('init_cfg', 'pretrained', 'cache_dir', 'chunk_size', 'with_cp'),
    *('vocabulary', 'templates', 'template_average'),
    *('frozen_stages', 'trainable'),
}


@dataclass
class CaptionedImage:
    """An image's place in the data set, and all its captions."""

    index: int
    name: str
    captions: list[str] = field(default_factory=list)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add_config_arguments(parser)
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        action=OutputFolder,
        help='folder for the shards',
    )
    parser.add_argument('--shard-size', type=int, default=1024, help='images per shard')
    parser.add_argument('--batch-size', type=int, default=32, help='images per batch')
    parser.add_argument(
        '--num-workers', type=int, help="loading processes (default: the config's)"
    )
    parser.add_argument(
        '--device', action=Device, default='cpu', help="'cuda' for a GPU"
    )
    add_allow_random(parser)
    args = parser.parse_args(argv)
    if args.shard_size < 1 or args.batch_size < 1:
        parser.error('--shard-size and --batch-size have to be at least 1')
    return args


def build_model(cfg: Config, device: str, allow_random: bool) -> nn.Module:
    """The segmentor with the published weights of its frozen parts.

    Raises:
        CheckpointError: A part has no weights.
        SystemExit: The model has no alignment with captions, or a part that features
            come from is trained, so that they would change.
    """
    model = MODELS.build(cfg.model)
    if not hasattr(getattr(model, 'decode_head', None), 'visual_embeddings'):
        raise SystemExit('The config needs an OpenVocabSegmentor with a Talk2DINOHead')
    names = ('backbone', 'neck', 'text_encoder')
    parts = {name: getattr(model, name, None) for name in names}
    given = {name: part for name, part in parts.items() if part is not None}
    require_weights(nn.ModuleDict(given), allow_random=allow_random)
    for part in given.values():
        part.init_weights()
        if any(p.requires_grad for p in part.parameters()):
            raise SystemExit(
                f'{type(part).__name__} is trained, so its features change: freeze it '
                '(backbone.trainable=False, text_encoder.trainable=False)'
            )
    return model.to(device).eval()


def list_images(dataset: Dataset) -> list[CaptionedImage]:
    """Images of a caption data set in order, each with all its captions."""
    listed: dict[str, CaptionedImage] = {}
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        captions = info.get('captions') or [info.get('caption')]
        if None in captions:
            raise SystemExit(
                f'The training data set is a {type(dataset).__name__}, whose samples '
                'have no caption: use --data coco-captions'
            )
        path = info['img_path']
        image = listed.setdefault(path, CaptionedImage(i, Path(path).name))
        image.captions += captions
    return list(listed.values())


def describe(
    cfg: Config, model: nn.Module, listed: Sequence[CaptionedImage], shard_size: int
) -> dict:
    """Everything that the features depend on, as JSON."""

    def relevant(part: str) -> dict:
        config = cfg.model.get(part) or {}
        return {k: v for k, v in config.items() if k not in _NEUTRAL}

    head, data = model.decode_head, [(p.name, p.captions) for p in listed]
    source = cfg.train_dataloader.dataset
    visual = [model.backbone, *([model.neck] if model.with_neck else [])]
    setting = dict(
        backbone_weights=weights_digest(*visual),
        text_weights=weights_digest(model.text_encoder),
        backbone=relevant('backbone'),
        neck=relevant('neck'),
        text_encoder=relevant('text_encoder'),
        data_preprocessor=relevant('data_preprocessor'),
        attention=dict(scale=head.attention_scale, in_index=head.in_index),
        pipeline=source.get('pipeline', source),  # a wrapper such as ConcatDataset
        pictures_and_captions=sha256(json.dumps(data)),
        shard_size=shard_size,
    )
    return plain(setting)


def find_done(out: Path, count: int, setting: dict) -> dict[int, dict]:
    """Records of the intact shards by number.

    Raises:
        JobError: A shard was made in another setting.
    """
    done = {}
    for number in range(count):
        path = out / shard_name(number)
        if not path.exists():
            continue
        try:
            found, record = verify_shard(path)
        except FeatureFileError as error:
            print(f'{error}; it is made again', file=sys.stderr)
            continue
        require_same(out, found, setting)
        done[number] = record
    return done


def batches(shard: Sequence[CaptionedImage], size: int) -> list[list[int]]:
    """Places of a shard's images in the data set, at most ``size`` together."""
    places = [image.index for image in shard]
    return [places[i : i + size] for i in range(0, len(places), size)]


def visual_features(
    model: nn.Module, loaded: Iterator, count: int, bar: ProgressBar
) -> Tensor:
    """Unit head embeddings (n, heads, C) of the next ``count`` batches."""
    parts = []
    for _ in range(count):
        # Preprocessed as in training, for features equal to those on the fly.
        inputs = model.data_preprocessor(next(loaded), True)['inputs']
        visual = model.decode_head.visual_embeddings(model.extract_feat(inputs))
        # The loss is blind to their length, which half precision is not.
        parts.append(F.normalize(visual.float(), dim=-1).half().cpu())
        bar.update(len(visual))
    return torch.cat(parts)


@torch.inference_mode()
def extract(
    model: nn.Module,
    dataset: Dataset,
    shards: dict[int, Sequence[CaptionedImage]],
    setting: dict,
    args: argparse.Namespace,
    bar: ProgressBar,
) -> None:
    """Write the shards that are not there yet."""
    plan = {n: batches(shard, args.batch_size) for n, shard in shards.items()}
    loader = DataLoader(
        dataset,
        batch_sampler=[batch for group in plan.values() for batch in group],
        num_workers=args.num_workers,
        collate_fn=pseudo_collate,
    )
    loaded = iter(loader)
    for number, shard in shards.items():
        visual = visual_features(model, loaded, len(plan[number]), bar)
        text = model.text_encoder.encode([c for p in shard for c in p.captions])
        counts = torch.tensor([len(p.captions) for p in shard])
        image_index = torch.arange(len(shard)).repeat_interleave(counts)
        write_shard(args.out / shard_name(number), visual, text, image_index, setting)


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Extract what is missing, then write the manifest."""
    args = parse_args(argv)
    cfg = read_config(args, train=True, read=(*MODEL_KEYS, 'train_dataloader'))
    require_data(cfg, 'train')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if args.num_workers is None:
        args.num_workers = cfg.train_dataloader.num_workers
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    listed = list_images(dataset)
    model = build_model(cfg, args.device, args.allow_random)
    setting = describe(cfg, model, listed, args.shard_size)

    with alone(args.out):
        run(model, dataset, listed, setting, args)


def run(
    model: nn.Module,
    dataset: Dataset,
    listed: list[CaptionedImage],
    setting: dict,
    args: argparse.Namespace,
) -> None:
    """With the folder to oneself: see what is there, make the rest."""
    remove_leftovers(args.out)
    size = args.shard_size
    count = -(-len(listed) // size)
    shards = {n: listed[n * size : (n + 1) * size] for n in range(count)}
    done = find_done(args.out, count, setting)
    todo = {n: shard for n, shard in shards.items() if n not in done}
    if todo:
        missing = sum(map(len, todo.values()))
        print(f'{args.out}: {len(listed) - missing} of {len(listed)} images done')
        bar = ProgressBar(missing, file=sys.stderr)
        extract(model, dataset, todo, setting, args, bar)
        bar.file.write('\n')
        for number in todo:
            done[number] = verify_shard(args.out / shard_name(number))[1]
    records = [done[number] for number in sorted(done)]
    write_manifest(args.out, setting, records)
    captions = sum(record['text'][0] for record in records)
    print(f'{args.out}: {len(listed)} images, {captions} captions, {count} shards')


if __name__ == '__main__':
    main()
