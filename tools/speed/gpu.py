"""Time whole systems on a GPU: parity, images a second, share of the peak.

    python tools/speed/gpu.py [SYSTEM ...] [--names 150] [--runs 20] [--out FILE]

Systems: talk2dino, ovs-dino, dinov3-seg, cat-seg, full size with random weights; one
image of 512 x 683 noise. Prints the table of docs/speed.md. A way that fails is a row
with its error, and the exit code is 1.

Ways: ``plain`` (windows one by one, scores of all names at full size, as
MMSegmentation does), ``fp32``, ``bf16`` and both with ``--compile``. ``labels`` is the
share of pixels as on the CPU in fp32. ``share`` is the backbone's arithmetic, over its
time, over what a product of large matrices reaches in the same data type and run.

``--device cpu --tiny`` runs toy models, to try the script without a GPU.
"""

import copy
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from chain import SIZE, SYSTEMS, System, build_model, set_words
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample
from timing import parse_args
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.acceleration import accelerate
from mmseg_ovs.composition import compose
from mmseg_ovs.models.text_encoders import save_embeddings

FULL = SYSTEMS | {'cat-seg': System('cat-seg_clip-b16', 512)}
TINY = {
    'ovs-dino': System('ovs-dino_tiny_shapes-112x112', 96),
    'dinov3-seg': System('dinov3-seg_tiny_shapes-112x112', 192),
}
# Switches of accelerate(), and settings of test_cfg.
WAYS = {
    'plain': ({}, dict(window_batch_size=1, keep_logits=True)),
    'fp32': ({}, {}),
    'bf16': (dict(bf16=True), {}),
    'fp32, compiled': (dict(compile=True), {}),
    'bf16, compiled': (dict(bf16=True, compile=True), {}),
}
HEADER = 'system | way | images/s | gain | labels | peak MB | backbone TFLOP/s | share'


class Machine(NamedTuple):
    """Where the models run."""

    device: torch.device
    runs: int

    def seconds(self, call: Callable[[], object]) -> float:
        """Of one call, warm; a GPU has finished."""
        call(), call()  # compiles, and measures a window
        self.wait()
        begin = time.perf_counter()
        for _ in range(self.runs):
            call()
        self.wait()
        return (time.perf_counter() - begin) / self.runs

    def wait(self) -> None:
        """Until the GPU has done what it was asked for."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    def peak_mb(self, call: Callable[[], object]) -> float:
        """Memory of a call beyond what was allocated; NaN on a CPU."""
        if self.device.type != 'cuda':
            return float('nan')
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        call()
        return (torch.cuda.max_memory_allocated(self.device) - before) / 2**20

    def peak_flops(self, dtype: torch.dtype) -> float:
        """Operations a second of a large product."""
        side = 8192 if self.device.type == 'cuda' else 512
        a = torch.randn(side, side, device=self.device, dtype=dtype)
        return 2 * side**3 / self.seconds(lambda: a @ a)


def predict(model: nn.Module, image: Tensor, **test_cfg) -> Tensor:
    """Labels (H, W) of a normalised image."""
    (sample,) = model.predict(image[None], [SegDataSample()], **test_cfg)
    return sample.pred_sem_seg.data[0]


def rows(name: str, model: nn.Module, image: Tensor, at: Machine) -> Iterator[str]:
    """Lines of the table for one system; ``model`` is on the CPU and stays there."""
    expected = predict(model, image)
    image = image.to(at.device)
    plain = None
    for way, (switches, test_cfg) in WAYS.items():
        try:
            ours = copy.deepcopy(model).to(at.device)
            accelerate(ours, **switches)

            def run(ours: nn.Module = ours, test_cfg: dict = test_cfg) -> Tensor:
                return predict(ours, image, **test_cfg)

            seconds = at.seconds(run)
            plain = plain or seconds
            same = (run().cpu() == expected).float().mean()
            flops, share = backbone_speed(ours, image, switches, at)
            yield (
                f'{name} | {way} | {1 / seconds:.2f} | {plain / seconds:.1f} | '
                f'{same:.3%} | {at.peak_mb(run):,.0f} | {flops / 1e12:.2f} | '
                f'{share:.0%}'
            )
        except (RuntimeError, ValueError) as error:  # the other rows are still of use
            text = str(error).splitlines()[0][:200]
            yield f'{name} | {way} | failed: {type(error).__name__}: {text} | | | | |'
        ours = None
        gc.collect()


def backbone_speed(
    model: nn.Module, image: Tensor, switches: dict, at: Machine
) -> tuple[float, float]:
    """Operations a second of the backbone on one view, and their share of the peak."""
    inference = model.build_inference()
    view = inference.lay_out(image).views[0]
    view = inference.to_size(view, inference.cfg.input_size or view.shape[-2:])[None]
    with FlopCounterMode(display=False) as counter:
        type(model.backbone).forward(model.backbone, view)  # as it is, not compiled
    seconds = at.seconds(lambda: model.run_backbone(view))
    dtype = torch.bfloat16 if 'bf16' in switches else torch.float32
    flops = counter.get_total_flops() / seconds
    return flops, flops / at.peak_flops(dtype)


def main() -> None:
    """Print the table."""
    args = parse_args(
        __doc__,
        systems=dict(
            nargs='*',
            help=f'of {", ".join(FULL)}; with --tiny {", ".join(TINY)}; default: all',
        ),
        **{
            '--device': dict(type=torch.device, default=torch.device('cuda')),
            '--names': dict(type=int, default=150),
            '--tiny': dict(action='store_true', help='toy models'),
            '--ways': dict(
                nargs='+',
                choices=WAYS,
                default=list(WAYS),
                metavar='WAY',
                help=f'of {", ".join(map(repr, WAYS))}; default: all',
            ),
            '--out': dict(type=Path, help='also write the table there'),
        },
    )
    systems = TINY if args.tiny else FULL
    unknown = [name for name in args.systems if name not in systems]
    if unknown:
        sys.exit(f'No system {unknown[0]!r}: there are {", ".join(systems)}')
    if args.device.type == 'cuda' and not torch.cuda.is_available():
        sys.exit('PyTorch finds no GPU here: --device cpu --tiny tries the script')
    for way in set(WAYS) - set(args.ways):
        del WAYS[way]
    init_default_scope('mmseg')
    at = Machine(args.device, args.runs)
    device = 'CPU'
    if args.device.type == 'cuda':
        device = torch.cuda.get_device_name(args.device)
    lines = [f'{device}, torch {torch.__version__}, {args.names} names', '']
    lines += [f'| {HEADER} |', '|---' * (HEADER.count('|') + 1) + '|']
    print('\n'.join(lines))
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        for name in args.systems or systems:
            system = systems[name]
            cfg = compose(system.model, 'ade20k')
            path = Path(folder) / 'text.safetensors'
            save_embeddings(path, ['class 0'], torch.randn(1, system.text_channels))
            model = build_model(cfg, path)
            set_words(model, args.names, system.text_channels, Path(folder))
            size = SIZE if not args.tiny else (112, 140)
            for line in rows(name, model, torch.randn(3, *size), at):
                lines.append(f'| {line} |')
                print(lines[-1], flush=True)
    if args.out:
        args.out.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    sys.exit(any('| failed:' in line for line in lines))


if __name__ == '__main__':
    main()
