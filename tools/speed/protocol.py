"""Time SCLIP's protocol behind the image encoder against the plain way.

    python tools/speed/protocol.py [--threads 1] [--runs 3] [--rows 21 171 847]

From given features of six windows to the labels of an image of 1536 x 2048: scores,
merging, resizing, softmax over all rows, least probability. The plain way keeps the
scores of all rows at full size, as the authors' code does. Above 200 rows it works on
an eighth of the image's height, and its time and memory are multiplied by eight: the
whole would need more than 20 GB.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from timing import Cell, parse_args, take_turns
from torch import Tensor, nn

from mmseg_ovs.composition import find_config, read_config_file
from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.models.utils import cosine_similarity_map, window_grid

INPUT, OUTPUT = (336, 448), (1536, 2048)
CROP, STRIDE, SCALE, LEAST = (224, 224), (112, 112), 40, 0.1
STRIPS = 8  # of which the plain way runs one if there are many rows


class Given(nn.Module):
    """An image encoder that knows the features of every window."""

    def __init__(self, windows: Tensor) -> None:
        super().__init__()
        self.windows, self.calls = windows, 0

    def forward(self, images: Tensor) -> tuple[Tensor]:
        start = self.calls % len(self.windows)
        self.calls += len(images)
        return (self.windows[start : start + len(images)],)


def plain(windows: Tensor, text: Tensor, strip: int = 1) -> Tensor:
    """Labels (H, W) by full-size scores; of the first of so many strips."""
    scores = F.interpolate(cosine_similarity_map(windows, text), CROP, mode='bilinear')
    merged, count = torch.zeros(1, len(text), *INPUT), torch.zeros(INPUT)
    for part, w in zip(scores, window_grid(INPUT, CROP, STRIDE), strict=True):
        merged[0, :, w.top : w.bottom, w.left : w.right] += part
        count[w.top : w.bottom, w.left : w.right] += 1
    merged = (merged / count)[:, :, : INPUT[0] // strip]
    logits = F.interpolate(merged, (OUTPUT[0] // strip, OUTPUT[1]), mode='bilinear')
    probabilities = (logits[0] * SCALE).softmax(0)
    labels = probabilities.argmax(0)
    labels[probabilities.amax(0) < LEAST] = 0
    return labels


def compare(windows: Tensor, rows: int, runs: int, folder: Path) -> None:
    """Print a line of the table."""
    text = F.normalize(torch.randn(rows, windows.shape[1]), dim=-1)
    names = ['background', *(f'class {i}' for i in range(1, rows))]
    save_embeddings(folder / 'text.safetensors', names, text)
    cfg = read_config_file(find_config('sclip_clip-b16')).model
    cfg.text_encoder = dict(
        type='PrecomputedTextEncoder', path=str(folder / 'text.safetensors')
    )
    cfg.test_cfg.min_probability = LEAST
    model = MODELS.build(cfg).eval()
    model.backbone = Given(windows)
    model.set_vocabulary(names)
    image = torch.zeros(1, 3, *INPUT)

    def ours() -> Tensor:
        sample = SegDataSample(metainfo=dict(ori_shape=OUTPUT))
        return model.predict(image, [sample])[0].pred_sem_seg.data[0]

    strip = 1 if rows <= 200 else STRIPS
    functions: dict[str, Callable[[], Tensor]] = dict(
        plain=lambda: plain(windows, text, strip), ours=ours
    )
    cells, labels = take_turns(functions, runs)
    published, here = cells['plain'], cells['ours']
    published = Cell(published.seconds * strip, published.mb * strip)
    height = OUTPUT[0] // strip - 8  # the edge of a strip is resized otherwise
    same = labels['plain'][:height] == labels['ours'][:height]
    background = (labels['ours'] == 0).float().mean()
    print(
        f'{rows:>5} | {published.seconds:7.2f} s {published.mb:7.0f} MB | '
        f'{here.seconds:7.2f} s {here.mb:5.0f} MB | '
        f'{published.seconds / here.seconds:4.1f} x | '
        f'equal labels {same.float().mean():.4%}, background {background:.0%}'
    )


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    rows = dict(type=int, nargs='+', default=[21, 171, 847], help='text rows')
    args = parse_args(__doc__, **{'--rows': rows})
    init_default_scope('mmseg')
    windows = torch.randn(len(window_grid(INPUT, CROP, STRIDE)), 512, 14, 14)
    print(' rows |      plain           |      here          | gain |')
    with tempfile.TemporaryDirectory() as folder:
        for count in args.rows:
            compare(windows, count, args.runs, Path(folder))


if __name__ == '__main__':
    main()
