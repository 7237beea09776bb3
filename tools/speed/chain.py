"""Time every stage of a whole system, as published and in this package.

    python tools/speed/chain.py [SYSTEM ...] [--classes 21 171 847]
        [--threads 1] [--runs 3]

Systems: talk2dino and ovs-dino (short side 448, windows of 448), dinov3-seg (640). A
generated photograph of 512 x 683 goes from its JPEG file to labels of its own size
through full-size models with random weights, so quality is not measured.

Columns: ``published`` is the plain way with the same weights (padded text, SAM's own
attention, dense AnyUp, cost aggregation of all classes at once, PAMR by dilated
convolutions, MMSegmentation's loop over windows and its result at full size); then this
package, and this package with ``--onednn`` and with ``--bf16``. Times are medians of
runs that take turns. Peak memory is the high-water mark of the process in the first
run, less what it held before. ``difference`` is the largest between the results of
``published`` and ``--onednn`` over the largest value; of labels, the share of pixels.

Two figures are scaled, as the whole would take hours: text from 32 names (published)
and 204 (here, where as many of 80 templates are encoded together); and published PAMR,
which goes 30 classes at a time, from 30 classes in one window.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from plain_anyup import PlainAnyUp
from plain_cost_aggregation import plain_aggregator
from plain_pamr import plain_pamr
from timing import Cell, Runs, parse_args, take_turns
from torch import Tensor, nn

from mmseg_ovs.acceleration import run_linears_in_onednn
from mmseg_ovs.composition import compose
from mmseg_ovs.models.decode_heads import CostAggregationHead
from mmseg_ovs.models.layers import LayerScale
from mmseg_ovs.models.necks import AnyUp, SemanticPriorEncoder, apply_neck
from mmseg_ovs.models.postprocessors import PAMR
from mmseg_ovs.models.segmentors import FeatureAggregation
from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.models.text_encoders.templates import fill_templates
from mmseg_ovs.models.utils import load_pretrained
from mmseg_ovs.structures import Vocabulary

SIZE = (512, 683)
NAMES, NAMES_TOGETHER, TEMPLATES = 32, 204, 2  # of which the cost of text is scaled
PAMR_CLASSES = 30
# Beyond it the published cost aggregation takes more memory than a desktop has.
PUBLISHED_COST_CLASSES = 256

PUBLISHED, OURS, ONEDNN, BF16 = 'published', 'mmseg_ovs', '--onednn', '--bf16'
COLUMNS = (PUBLISHED, OURS, ONEDNN, BF16)


class System(NamedTuple):
    """A system with the width of its text encoder's vectors."""

    model: str
    text_channels: int


SYSTEMS = {
    'talk2dino': System('talk2dino_dinov2-reg-b14', 512),
    'ovs-dino': System('ovs-dino_dinov2-b14', 512),
    'dinov3-seg': System('dinov3-seg_l16', 2048),
}


class Row(NamedTuple):
    """A stage. ``difference`` is None where it says nothing."""

    stage: str
    cells: Mapping[str, Cell | None]
    difference: float | None = None


# ------------------------------------------------------------------------- models
def without_weights(part: Any) -> None:
    """Let no part of a config load a file."""
    if isinstance(part, dict):
        part.pop('init_cfg', None)
    if isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            without_weights(value)


def build_model(
    cfg: Config, vectors: Path, auxiliary_head: dict | None = None
) -> nn.Module:
    """The model of a config with random weights, all of which count."""
    without_weights(cfg.model)
    parts = dict(cfg.model, auxiliary_head=auxiliary_head)
    # Vectors are random, and set for each number of classes.
    parts['text_encoder'] = dict(type='PrecomputedTextEncoder', path=str(vectors))
    model = MODELS.build(parts).eval()
    for module in model.modules():
        if isinstance(module, LayerScale):
            nn.init.ones_(module.gamma)
    for name, parameter in model.named_parameters():
        if name.endswith('gamma') and parameter.ndim == 0:
            nn.init.constant_(parameter, 0.5)
        elif parameter.ndim == 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


@contextlib.contextmanager
def in_onednn(model: nn.Module) -> Iterator[None]:
    """``--onednn``, for a while."""
    always = {m for m in model.modules() if getattr(m, 'onednn', False)}
    run_linears_in_onednn(model)
    yield
    for module in model.modules():
        if hasattr(module, 'onednn'):
            module.onednn = module in always


@contextlib.contextmanager
def in_bfloat16(model: nn.Module) -> Iterator[None]:
    """``--bf16``, for a while."""
    model.compute_dtype = torch.bfloat16
    yield
    model.compute_dtype = None


def set_words(model: nn.Module, count: int, channels: int, folder: Path) -> Tensor:
    """Give the model random text vectors of a number of classes; projects them."""
    names = [f'class {i}' for i in range(count)]
    path = folder / f'text_{count}.safetensors'
    save_embeddings(path, names, torch.randn(count, channels))
    cfg = dict(type='PrecomputedTextEncoder', path=str(path))
    model.text_encoder = MODELS.build(cfg)
    model.set_vocabulary(names)
    return model.project_vocabulary()


# ---------------------------------------------------------------------- measuring
def largest_difference(one: Any, other: Any) -> float | None:
    """Between two tensors or lists of them, over the largest value."""
    one, other = (x if isinstance(x, list) else [x] for x in (one, other))
    differences = []
    for a, b in zip(one, other, strict=True):
        if not isinstance(a, Tensor):
            return None
        if a.is_floating_point():
            differences.append(((a - b).abs().max() / b.abs().max()).item())
        else:  # labels: share of pixels
            differences.append((a != b).double().mean().item())
    return max(differences)


def measure(
    stage: str, runs: Runs, count: int, compare: Callable[[Any], Any] = lambda x: x
) -> tuple[Row, Any]:
    """Time a stage in all its ways.

    Args:
        stage: Its name.
        runs: What to run in each way.
        count: Runs that take turns.
        compare: What of a result to compare.

    Returns:
        The row, and the result of this package without switches.
    """
    cells, results = take_turns(runs, count)
    difference = None
    if PUBLISHED in results:
        last = results.get(ONEDNN, results[OURS])
        difference = largest_difference(compare(last), compare(results[PUBLISHED]))
    row = Row(stage, cells, difference)
    print(format_row(row), flush=True)
    return row, results[OURS]


def everywhere(row: Row) -> Row:
    """A stage that switches do not reach: the same time with them."""
    ours = row.cells[OURS]
    return row._replace(cells=dict.fromkeys(COLUMNS, ours) | row.cells)


def scaled(row: Row, factors: Mapping[str, float]) -> Row:
    """Multiply the times of some columns."""
    cells = {
        name: cell._replace(seconds=cell.seconds * factors.get(name, 1))
        for name, cell in row.cells.items()
    }
    return row._replace(cells=cells)


# ------------------------------------------------------------------------- stages
class Chain:
    """One system and one image.

    Args:
        name: Of the system.
        folder: For its files.
        count: Runs of each stage.
    """

    def __init__(self, name: str, folder: Path, count: int) -> None:
        self.system = SYSTEMS[name]
        self.cfg = compose(self.system.model, 'ade20k')
        self.text_cfg = dict(self.cfg.model.text_encoder, cache_dir=None)
        self.text_cfg.pop('pretrained', None)
        without_weights(self.text_cfg)
        self.folder, self.count = folder, count
        vectors = folder / 'text_1.safetensors'
        save_embeddings(vectors, ['class 0'], torch.randn(1, self.system.text_channels))
        self.model = build_model(self.cfg, vectors)
        self.inference = self.model.build_inference()

    def ways(self, run: Callable[[], Any], published: Callable | None = None) -> Runs:
        """A run of the model as it is and with switches."""

        return {
            PUBLISHED: published or run,
            OURS: run,
            ONEDNN: in_onednn(self.model)(run),
            BF16: in_bfloat16(self.model)(run),
        }

    # -- what does not depend on the number of classes
    def read(self) -> Row:
        """JPEG and label file to a batch."""
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        photo = cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        photo, labels = self.folder / 'photo.jpg', self.folder / 'labels.png'
        cv2.imwrite(str(photo), cv2.resize(noise, SIZE[::-1]))
        cv2.imwrite(str(labels), np.ones(SIZE, np.uint8))
        pipeline = Compose(self.cfg.test_pipeline)
        info = dict(
            img_path=str(photo),
            seg_map_path=str(labels),
            reduce_zero_label=True,
            num_classes=150,
            label_map=None,
        )

        def run() -> dict:
            data = pipeline(dict(info, seg_fields=[]))
            data = dict(
                inputs=[data['inputs']], data_samples=[data['data_samples'].clone()]
            )
            return self.model.data_preprocessor(data, False)

        row, batch = measure('read, resize, normalise', {OURS: run}, 9)
        (sample,) = batch['data_samples']
        self.meta = sample.metainfo
        self.layout = self.inference.lay_out(batch['inputs'][0])
        return everywhere(row)

    def backbone(self) -> Row:
        """All windows."""
        if isinstance(self.inference, FeatureAggregation):

            def run() -> list:
                return [self.inference.aggregate(v[None]) for v in self.layout.views]

            windows = len(self.inference.cfg.windows(self.layout.size)) + 1
        else:

            def run() -> list:
                return [self.model.run_backbone(v[None]) for v in self.layout.views]

            windows = len(self.layout.views)
        row, self.features = measure(
            f'backbone, {windows} views', self.ways(run), self.count, maps
        )
        return row

    def necks(self) -> Iterator[Row]:
        """Each neck by its name."""
        if not self.model.with_neck:
            return
        for neck in self.model.neck:
            features = self.features

            def run(neck: nn.Module = neck, features: list = features) -> list:
                return [self.model.run_part(apply_neck, neck, f) for f in features]

            row, self.features = measure(
                type(neck).__name__,
                self.ways(run, self.published_neck(neck, features)),
                self.count,
                maps,
            )
            yield row

    def published_neck(self, neck: nn.Module, features: list) -> Callable | None:
        """A neck the plain way, where it differs."""
        if isinstance(neck, AnyUp):
            plain = PlainAnyUp(neck.rope.freqs.shape[1]).eval()
            load_pretrained(neck, plain.state_dict())

            def dense() -> list:
                (f,) = features
                image = neck.renormalise(f.image)
                source = f.maps[neck.in_index]
                up = plain(image, source, neck._target_size(f.image, source))
                return [f._replace(maps=(*f.maps[: neck.in_index], up))]

            return dense
        if isinstance(neck, SemanticPriorEncoder):
            cfgs = {cfg.type: cfg for cfg in self.cfg.model.neck}
            cfg = cfgs[type(neck).__name__]
            cfg = dict(cfg, backbone=dict(cfg.backbone, fused_attention=False))
            plain = MODELS.build(cfg).eval()
            plain.load_state_dict(neck.state_dict())
            return lambda: [plain(f) for f in features]
        return None

    # -- what does
    def text(self, classes: int) -> Row:
        """The vocabulary, once."""
        cfg = dict(self.text_cfg, template_average='none')
        encoder = MODELS.build(cfg).eval()
        share = len(encoder.templates)
        rows = Vocabulary.build('ade20k_847').rows
        count = min(classes, NAMES_TOGETHER)
        names = rows[:: len(rows) // count][:count]
        some = names[:NAMES]
        encoder.templates = encoder.templates[:TEMPLATES]
        share /= len(encoder.templates)
        prompts = fill_templates(encoder.templates, some)

        def padded() -> Tensor:
            return encoder.tower(encoder.tokenizer(prompts))

        def once() -> Tensor:
            return encoder.encode_names(names)[: len(some)].flatten(0, 1)

        runs = {PUBLISHED: padded, OURS: once, ONEDNN: in_onednn(encoder)(once)}
        row, _ = measure('text, once', runs, self.count)
        factors = dict.fromkeys(runs, share * classes / count)
        factors[PUBLISHED] = share * classes / len(some)
        return everywhere(scaled(row, factors))

    def head(self, text: Tensor) -> Row:
        """Scores on the patch grid."""
        model, head = self.model, self.model.decode_head

        def run() -> list:
            return [model.decode(f, text) for f in self.features]

        runs = self.ways(run)
        if isinstance(head, CostAggregationHead):

            def published() -> list:
                (f,) = self.features
                logits = plain_aggregator(
                    head.aggregator,
                    f.maps[head.in_index],
                    text,
                    head.appearance_guidance(f.maps),
                    [guidance(f.maps) for guidance in head.decoder_guidance],
                )
                return [head.activate(logits)]

            runs.pop(PUBLISHED)
            if len(text) <= PUBLISHED_COST_CLASSES:
                runs[PUBLISHED] = published
        row, grids = measure('head', runs, self.count)
        self.grids = [grid[0] for grid in grids]
        return row

    def pamr(self) -> Row | None:
        """PAMR of all windows; the resize to their size counts in, a little."""
        refiners = self.model.image_postprocessors('window')
        if not refiners:
            return None
        (refiner,) = refiners
        assert isinstance(refiner, PAMR)
        views, sizes = self.layout.views, self.layout.view_sizes

        def run() -> None:
            for view, grid, size in zip(views, self.grids, sizes, strict=True):
                ready = refiner.prepare(self.model.denormalize(view))
                for part in grid.split(refiner.class_chunk):
                    refiner.refine(self.inference.resize(part, size), ready)

        some = self.inference.resize(self.grids[0][:PAMR_CLASSES], sizes[0])

        def published() -> Tensor:
            image = self.model.denormalize(views[0])
            return plain_pamr(image, some, refiner.dilations)

        row, _ = measure(
            f'PAMR, {len(views)} windows', {PUBLISHED: published, OURS: run}, 1
        )
        share = len(views) * len(self.grids[0]) / len(some)
        return everywhere(scaled(row, {PUBLISHED: share}))

    def labels(self) -> Row:
        """Resize, merge the windows, argmax at the size of the file."""
        model, size = self.model, tuple(self.meta['ori_shape'])
        refiners, model.postprocessors = model.postprocessors, nn.ModuleList()

        def run() -> Tensor:
            return self.inference._finish(
                self.layout, self.grids, size, {}, model.vocabulary
            )[0]

        def published() -> Tensor:
            return by_mmseg(self.layout, self.grids, size, model.align_corners)

        row, _ = measure(
            'resize, merge, argmax', {PUBLISHED: published, OURS: run}, self.count
        )
        model.postprocessors = refiners
        return everywhere(row)


def maps(features: list) -> list[Tensor]:
    """All maps of all windows."""
    return [m for f in features for m in f.maps]


def by_mmseg(layout, grids: list[Tensor], size: tuple, align_corners: bool) -> Tensor:
    """Labels as ``EncoderDecoder`` makes them of the scores of windows."""
    total = grids[0].new_zeros(len(grids[0]), *layout.size)
    count = grids[0].new_zeros(1, *layout.size)
    for grid, window, view in zip(
        grids, layout.windows, layout.view_sizes, strict=True
    ):
        scores = F.interpolate(
            grid[None], view, mode='bilinear', align_corners=align_corners
        )
        left, right = window.left, layout.size[1] - window.right
        top, bottom = window.top, layout.size[0] - window.bottom
        total += F.pad(scores[0], (left, right, top, bottom))
        count[:, window.top : window.bottom, window.left : window.right] += 1
    stock = EncoderDecoder.__new__(EncoderDecoder)
    nn.Module.__init__(stock)
    stock.align_corners = align_corners
    sample = SegDataSample(metainfo=dict(ori_shape=size))
    stock.postprocess_result((total / count)[None], [sample])
    return sample.pred_sem_seg.data[0]


# -------------------------------------------------------------------------- table
def format_cell(cell: Cell | None) -> str:
    """Seconds and memory, '-' for what was not run."""
    return '-' if cell is None else f'{cell.seconds:.3g} s, {cell.mb:.0f} MB'


def format_row(row: Row) -> str:
    """A line of a Markdown table."""
    cells = [format_cell(row.cells.get(name)) for name in COLUMNS]
    gain = '-'
    if row.cells.get(PUBLISHED) and row.cells.get(ONEDNN):
        gain = f'{row.cells[PUBLISHED].seconds / row.cells[ONEDNN].seconds:.2f}'
    difference = '-' if row.difference is None else f'{row.difference:.0e}'
    return f'| {row.stage} | {" | ".join(cells)} | {gain} | {difference} |'


def total(rows: list[Row]) -> Row:
    """Sum of the stages of an image: seconds add up, memory is the largest."""
    cells = {}
    for name in COLUMNS:
        parts = [row.cells.get(name) for row in rows]
        if None not in parts:
            seconds = sum(part.seconds for part in parts)
            cells[name] = Cell(seconds, max(part.mb for part in parts))
    return Row('**per image**', cells)


@torch.inference_mode()
def run_system(name: str, classes: list[int], count: int) -> None:
    """Measure and print the tables of a system."""
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(name, Path(folder), count)
        print(f'\n## {name}: {chain.system.model}\n')
        common = [chain.read(), chain.backbone(), *chain.necks()]
        tables = {}
        for number in classes:
            text = set_words(
                chain.model, number, chain.system.text_channels, chain.folder
            )
            rows = [chain.head(text), chain.pamr(), chain.labels()]
            tables[number] = [*common, *(row for row in rows if row)]
        encoding = {number: chain.text(number) for number in classes}
    for number, rows in tables.items():
        print(f'\n{name}, {number} classes\n')
        print(f'| stage | {" | ".join(COLUMNS)} | gain | difference |')
        print(f'|---|{"---|" * (len(COLUMNS) + 2)}')
        for row in [*rows, total(rows), encoding[number]]:
            print(format_row(row))


def main() -> None:
    """Run the systems asked for."""
    classes = dict(type=int, nargs='+', default=[21, 171, 847])
    systems = dict(nargs='*', choices=[[], *SYSTEMS], metavar='SYSTEM')
    systems['help'] = ', '.join(SYSTEMS)
    options = {'systems': systems, '--classes': classes}
    args = parse_args(__doc__, **options)
    init_default_scope('mmseg')
    cv2.setNumThreads(args.threads)
    for name in args.systems or SYSTEMS:
        run_system(name, args.classes, args.runs)


if __name__ == '__main__':
    main()
