"""Extract the teacher features for OVS-DINO's training once for all epochs.

Use the training config with ``LoadTeacherFeatures`` in its pipeline; the teacher is
that of its ``AlignmentHead``. Finished images are not recomputed:

    python tools/extract_teacher_features.py \\
        ovs-dino_dinov2-b14 --data coco-pseudo-masks-teacher-features

SAM's features take 2 MB per image, 248 GB for the 118,287 images of COCO 2017.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar
from mmseg.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmseg_ovs.composition import (
    MODEL_KEYS,
    add_allow_random,
    add_config_arguments,
    read_config,
    require_data,
)
from mmseg_ovs.datasets.feature_files import FeatureFileError
from mmseg_ovs.datasets.teacher_features import (
    feature_path,
    read_features,
    setting_digest,
    write_features,
    write_manifest,
)
from mmseg_ovs.jobs import alone, plain
from mmseg_ovs.models.decode_heads import AlignmentHead
from mmseg_ovs.models.utils import require_weights, weights_digest
from mmseg_ovs.utils import Device, exit_with_message, remove_leftovers

_BY_CHANCE = ('Random', 'PhotoMetric')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add_config_arguments(parser)
    parser.add_argument('--batch-size', type=int, default=4, help='images per batch')
    parser.add_argument(
        '--num-workers', type=int, help="loading processes (default: the config's)"
    )
    parser.add_argument(
        '--device', action=Device, default='cpu', help="'cuda' for a GPU"
    )
    add_allow_random(parser)
    return parser.parse_args(argv)


def split_pipeline(cfg: Config) -> tuple[list[dict], Path]:
    """The pipeline up to ``LoadTeacherFeatures``, and its folder; packs at the end.

    Raises:
        SystemExit: It is missing, or a random transform comes before it.
    """
    steps = cfg.train_dataloader.dataset.pipeline
    places = [i for i, s in enumerate(steps) if s['type'] == 'LoadTeacherFeatures']
    if len(places) != 1:
        raise SystemExit(
            'The training pipeline needs LoadTeacherFeatures once: it says where the '
            'features belong, and which steps come before them: --data '
            'coco-pseudo-masks-teacher-features has it.'
        )
    before = steps[: places[0]]
    chance = [s['type'] for s in before if s['type'].startswith(_BY_CHANCE)]
    if chance:
        raise SystemExit(
            f'{", ".join(chance)} before LoadTeacherFeatures would be drawn once, not '
            'every epoch: move what changes colours behind it and leave out the rest'
        )
    return [*before, dict(type='PackNounMasks')], Path(steps[places[0]]['folder'])


def list_images(dataset: Dataset) -> dict[str, int]:
    """Place in the data set of every image by path.

    Raises:
        SystemExit: Two images have one file name.
    """
    listed: dict[str, int] = {}
    names: dict[str, str] = {}
    for i in range(len(dataset)):
        path = dataset.get_data_info(i)['img_path']
        other = names.setdefault(Path(path).name, path)
        if other != path:
            raise SystemExit(
                f'{path} and {other} have the same file name, which features are kept '
                'under: extract them into two folders'
            )
        listed.setdefault(path, i)
    return listed


def is_done(path: Path, setting: str) -> bool:
    """Whether intact features of this setting are there.

    Raises:
        JobError: They were made in another setting.
    """
    if not path.exists():
        return False
    try:
        read_features(path, setting)
    except FeatureFileError as error:
        print(f'{error}; they are made again', file=sys.stderr)
        return False
    return True


@torch.inference_mode()
def extract(
    head: AlignmentHead,
    preprocessor: nn.Module,
    dataset: Dataset,
    todo: list[int],
    folder: Path,
    setting: str,
    args: argparse.Namespace,
) -> None:
    """Write the features of the images at some places in the data set."""
    loader = DataLoader(
        dataset,
        batch_sampler=[
            todo[i : i + args.batch_size] for i in range(0, len(todo), args.batch_size)
        ],
        num_workers=args.num_workers,
        collate_fn=pseudo_collate,
    )
    bar = ProgressBar(len(todo), file=sys.stderr)
    for batch in loader:
        batch = preprocessor(batch, True)
        features = head.teach(batch['inputs'], batch['data_samples'])
        for sample, value in zip(batch['data_samples'], features, strict=True):
            write_features(feature_path(folder, sample.img_path), value, setting)
        bar.update(len(features))
    bar.file.write('\n')


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Extract what is missing, then write the manifest."""
    args = parse_args(argv)
    cfg = read_config(args, train=True, read=(*MODEL_KEYS, 'train_dataloader'))
    require_data(cfg, 'train')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if args.num_workers is None:
        args.num_workers = cfg.train_dataloader.num_workers
    pipeline, folder = split_pipeline(cfg)
    cfg.train_dataloader.dataset.pipeline = pipeline
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    head = MODELS.build(cfg.model.get('auxiliary_head') or {})
    if not isinstance(head, AlignmentHead):
        raise SystemExit("The config's auxiliary_head has to be an AlignmentHead")
    require_weights(
        nn.ModuleDict(dict(teacher=head.teacher.outline())),
        allow_random=args.allow_random,
    )
    preprocessor = MODELS.build(cfg.model.data_preprocessor).to(args.device)
    teacher = {k: v for k, v in head.teacher.cfg.items() if k != 'init_cfg'}
    setting = dict(
        teacher=teacher,
        weights=weights_digest(head.teacher.network(args.device)),
        input_size=head.teacher.input_size,
        data_preprocessor=cfg.model.data_preprocessor,
        pipeline=pipeline,
    )
    if head.input_fit != 'stretch':
        setting['input_fit'] = head.input_fit
    setting = plain(setting)
    digest = setting_digest(setting)

    with alone(folder):
        remove_leftovers(folder)
        listed = list_images(dataset)
        todo = [
            place
            for path, place in listed.items()
            if not is_done(feature_path(folder, path), digest)
        ]
        print(f'{folder}: {len(listed) - len(todo)} of {len(listed)} done')
        if todo:
            extract(head, preprocessor, dataset, todo, folder, digest, args)
        write_manifest(folder, setting, len(listed))
    print(f'{folder}: features of {len(listed)} images')


if __name__ == '__main__':
    main()
