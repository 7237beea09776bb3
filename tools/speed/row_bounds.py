"""Time the way from scores to labels with and without rows that win nowhere.

    python tools/speed/row_bounds.py IMAGE LABELS [--rows 171 847] [--noise 0.2 0.8]
        [--pamr] [--threads 1] [--runs 1]

Talk2DINO's windows, with ``--pamr`` also its refinement. No weights are needed: a patch
looks like the names whose label it has, with the cosines of CLIP (about 0.25 for the
right name), plus noise. Names come in families that look alike.
"""

import tempfile
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from chain import build_model
from mmengine.registry import init_default_scope
from timing import parse_args, take_turns
from torch import Tensor

from mmseg_ovs.composition import compose
from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.structures import Vocabulary

WIDTH, FAMILIES = 512, 100


def words(rows: int) -> Tensor:
    """Text vectors; a name of a family has a cosine of 0.75 with its first one."""
    heads = F.normalize(torch.randn(FAMILIES, WIDTH), dim=-1)
    others = F.normalize(torch.randn(rows, WIDTH), dim=-1)
    family = torch.arange(rows) % FAMILIES
    text = F.normalize(0.75 * heads[family] + 0.66 * others, dim=-1)
    text[:FAMILIES] = heads[:rows]
    return text


def scores(labels: Tensor, text: Tensor, noise: float, patch: int = 14) -> Tensor:
    """Cosines (R, h, w) of patches with names, of labels (H, W)."""
    areas = F.one_hot(labels.long() % FAMILIES, FAMILIES).permute(2, 0, 1).float()
    areas = F.avg_pool2d(areas[None], patch)
    areas = (areas + F.avg_pool2d(areas, 3, 1, 1))[0]  # patches see their neighbours
    content = F.normalize(torch.einsum('nhw,nc->chw', areas, text[:FAMILIES]), dim=0)
    common = F.normalize(torch.randn(WIDTH, 1, 1), dim=0)
    around = F.normalize(torch.randn_like(content), dim=0)
    patches = F.normalize(0.25 * content + noise * around + 0.5 * common, dim=0)
    return torch.einsum('chw,rc->rhw', patches, text)


def main() -> None:
    """Print a line for each number of rows and each noise."""
    args = parse_args(
        __doc__,
        image=dict(help='a photograph'),
        labels=dict(help='its label map'),
        **{
            '--rows': dict(type=int, nargs='+', default=[171, 847]),
            '--noise': dict(type=float, nargs='+', default=[0.2, 0.8]),
            '--pamr': dict(action='store_true'),
        },
    )
    if min(args.rows) < FAMILIES:
        raise SystemExit(f'--rows has to be at least {FAMILIES}: so many families')
    init_default_scope('mmseg')
    cfg = compose('talk2dino_dinov2-reg-b14', 'ade20k')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'text.safetensors'
        save_embeddings(path, ['a'], torch.randn(1, WIDTH))
        model = build_model(cfg, path)
    image, labels = cv2.imread(args.image), cv2.imread(args.labels, 0)
    assert image is not None and labels is not None, 'no image or label map'
    scale = 448 / min(image.shape[:2])
    size = [round(side * scale / 14) * 14 for side in image.shape[1::-1]]
    image = torch.from_numpy(cv2.resize(image, size)).permute(2, 0, 1).float()
    image = (image.flip(0) - model.data_preprocessor.mean) / model.data_preprocessor.std
    labels = torch.from_numpy(
        cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST).astype(np.int64)
    )
    with torch.inference_mode():
        for rows in args.rows:
            for noise in args.noise:
                compare(model, image, labels, words(rows), noise, args)


def compare(
    model: torch.nn.Module,
    image: Tensor,
    labels: Tensor,
    text: Tensor,
    noise: float,
    args: object,
) -> None:
    """Print a line."""
    inference = model.build_inference(refine=args.pamr)
    layout, whole = inference.lay_out(image), scores(labels, text, noise)
    grids = [
        whole[:, w.top // 14 : w.bottom // 14, w.left // 14 : w.right // 14]
        for w in layout.windows
    ]
    vocabulary = Vocabulary.build([f'name {i}' for i in range(len(text))])
    counts = []
    to_view = inference.to_view

    def count(grid: Tensor, size: tuple[int, int]) -> Tensor:
        counts.append(len(grid))
        return to_view(grid, size)

    inference.to_view = count
    holds = inference.bounds_hold

    def run(bounded: bool) -> Tensor:
        inference.bounds_hold = holds if bounded else lambda grids: False
        counts.clear()
        found, *_ = inference._finish(layout, grids, layout.size, {}, vocabulary)
        rows[bounded] = sum(counts) // len(grids)
        return found

    rows: dict[bool, int] = {}
    runs = {'all': lambda: run(False), 'bounded': lambda: run(True)}
    cells, found = take_turns(runs, args.runs)
    same = (found['all'] == found['bounded']).float().mean()
    print(
        f'{len(text)} rows, noise {noise}: {cells["all"].seconds:.2f} s, with '
        f'{rows[True]} rows {cells["bounded"].seconds:.2f} s; '
        f'{len(found["all"].unique())} names win, right in '
        f'{(found["all"] == labels % FAMILIES).float().mean():.0%} of the pixels; '
        f'equal labels {same:.4%}',
        flush=True,
    )


if __name__ == '__main__':
    main()
