"""Predictions of several models beside the image and its label (OVS-DINO, Figure 6).

    python tools/analysis/compare_predictions.py ovs-dino_table2 --data voc21 \\
        --checkpoints ovs-dino_dinov2-b14=FILE --out out/comparison
    python tools/analysis/compare_predictions.py --models Talk2DINO SCLIP \\
        --data voc21 --photos photos/ --out out/comparison

Models are those of a plan, as for ``tools/benchmark.py``; ``--data`` gives classes,
colours and protocol. Writes a sheet for each image. See docs/analysis.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_ovs.analysis import LabelMaps
from mmseg_ovs.apis import ImageSource, OpenVocabInferencer, list_images
from mmseg_ovs.apis.image_sources import output_names
from mmseg_ovs.benchmark.command_line import (
    add_plan_arguments,
    check_plan_arguments,
    plan_of,
)
from mmseg_ovs.benchmark.plan import ModelEntry, Plan, PlanError
from mmseg_ovs.benchmark.rows import row_config
from mmseg_ovs.benchmark.zoo import Zoo
from mmseg_ovs.composition import add_allow_random, check_data_files
from mmseg_ovs.composition.names import configs_folder
from mmseg_ovs.engine import data_vocabulary
from mmseg_ovs.utils import (
    Device,
    OpenVocabError,
    OutputFolder,
    exit_with_message,
    replacing,
    some_of,
)
from mmseg_ovs.visualization.sheet import draw_sheet


@dataclass
class Panel:
    """An image and what is drawn beside it, (H, W) by title."""

    source: ImageSource
    name: str
    image: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_plan_arguments(parser)
    parser.add_argument('--data', required=True, help='data set')
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--images', nargs='+', metavar='NAME', help='images of the data set by name'
    )
    which.add_argument(
        '--count',
        type=int,
        default=6,
        help='so many images of the data set, evenly spaced (default: %(default)s)',
    )
    which.add_argument(
        '--photos', nargs='+', help='image files or folders of your own: no label'
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        help="class names for --photos (default: the data set's)",
    )
    parser.add_argument(
        '--out', required=True, type=Path, action=OutputFolder, help='output folder'
    )
    parser.add_argument('--per-row', type=int, help='panels in a row (default: all)')
    parser.add_argument('--device', action=Device, help='default: GPU if available')
    add_allow_random(parser)
    args = parser.parse_args(argv)
    check_plan_arguments(parser, args)
    if args.classes and not args.photos:
        parser.error("--classes is for --photos: labels have the data set's classes")
    if args.count < 1 or (args.per_row or 1) < 1:
        parser.error('--count and --per-row are at least 1')
    return args


def usable_models(plan: Plan, allow_random: bool) -> list[ModelEntry]:
    """Models that can be run; the others are named.

    Raises:
        PlanError: There are none.
    """
    models = []
    for model in plan.models:
        if model.config is None:
            print(f'Left out: {model.name}: the method is not here')
        elif model.untrained and not allow_random:
            print(f'Left out: {model.name}: {model.untrained}')
        else:
            models.append(model)
    if not models:
        raise PlanError('No model of the plan can be run: all are left out')
    return models


def chosen(labels: LabelMaps, names: Sequence[str] | None, count: int) -> list[Panel]:
    """Images of a data set with their labels.

    Raises:
        OpenVocabError: The data set has no image of a name.
    """
    if names:
        unknown = [name for name in names if name not in labels.names]
        if unknown:
            raise OpenVocabError(
                f'The data set has no image {unknown[0]!r}, but {some_of(labels.names)}'
            )
        indices = [labels.names.index(name) for name in names]
    else:
        count = min(count, len(labels))
        indices = np.linspace(0, len(labels) - 1, count).round().astype(int)
    return [
        Panel(
            ImageSource(labels.paths[i], labels.paths[i]),
            labels.names[i],
            maps={'label': labels[i]},
        )
        for i in indices
    ]


def own(photos: Sequence[str]) -> list[Panel]:
    """Images without labels."""
    sources = list_images(photos)
    return [Panel(*pair) for pair in zip(sources, output_names(sources), strict=True)]


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Predict model by model, then draw."""
    args = parse_args(argv)
    plan = plan_of(args, Zoo.read(configs_folder()), [args.data])
    (data,) = plan.datasets
    models = usable_models(plan, args.allow_random)
    cfgs = [row_config(plan, model, data)[0] for model in models]
    if args.photos:
        panels = own(args.photos)
    else:
        check_data_files(cfgs[0], 'test')
        panels = chosen(LabelMaps(cfgs[0]), args.images, args.count)

    for model, cfg in zip(models, cfgs, strict=True):
        print(f'{model.name} ...', flush=True)
        inferencer = OpenVocabInferencer(
            cfg, model.checkpoint, args.device, allow_random=args.allow_random
        )
        words = inferencer.read_vocabulary(args.classes or data_vocabulary(cfg))
        sources = [panel.source for panel in panels]
        for panel, result in zip(
            panels, inferencer.predict(sources, words), strict=True
        ):
            result.check()
            panel.image, panel.maps[model.name] = result.image, result.labels
        palette = inferencer.palette(words)
    for panel in panels:
        sheet = draw_sheet(
            panel.image,
            panel.maps,
            words.classes,
            palette,
            clear=words.background_class,
            per_row=args.per_row,
        )
        with replacing(args.out / f'{panel.name}.png') as temporary:
            Image.fromarray(sheet).save(temporary)
    print(f'{len(panels)} sheets of {len(models)} models: {args.out}')


if __name__ == '__main__':
    main()
