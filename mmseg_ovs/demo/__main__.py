"""Serve a web page for trying models.

python -m mmseg_ovs.demo --model NAME CONFIG [CHECKPOINT] [--model ...]
"""

from __future__ import annotations

import argparse
import signal
import sys

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.acceleration import (
    add_switches,
    chosen_switches,
    keep_freed_memory,
)
from mmseg_ovs.composition import add_allow_random
from mmseg_ovs.utils import Device, exit_with_message

from .images import Limits
from .models import PageModel

_LOOPBACK = ('127.0.0.1', 'localhost', '::1')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m mmseg_ovs.demo',
        description='Serve a web page for trying models: image and class names in, '
        'masks out.',
    )
    parser.add_argument(
        '--model',
        nargs='+',
        action='append',
        required=True,
        metavar=('NAME', 'CONFIG [CHECKPOINT]'),
        help='name on the page; name of a model or path of a config; checkpoint of the '
        'whole model (default: each part loads the weights in its init_cfg). Repeat '
        'for more models; each is loaded on first use',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: %(default)s, this machine only)',
    )
    parser.add_argument('--port', type=int, help='default: 7860 or the next free one')
    parser.add_argument('--device', action=Device, help='default: GPU if available')
    add_switches(parser)
    add_allow_random(parser)
    parser.add_argument(
        '--max-megabytes',
        type=float,
        default=Limits.megabytes,
        help='largest accepted file (default: %(default)g)',
    )
    parser.add_argument(
        '--max-megapixels',
        type=float,
        default=Limits.megapixels,
        help='largest accepted image (default: %(default)g)',
    )
    parser.add_argument(
        '--max-frames',
        type=int,
        default=Limits.frames,
        help='most frames of a video (default: %(default)d)',
    )
    parser.add_argument(
        '--max-requests',
        type=int,
        default=Limits.requests,
        help='images segmented at the same time (default: %(default)d); one already '
        'keeps a GPU or all cores busy, and each needs memory',
    )
    args = parser.parse_args(argv)
    for model in args.model:
        if len(model) not in (2, 3):
            parser.error(f'--model takes NAME CONFIG [CHECKPOINT], not {model}')
    names = [model[0] for model in args.model]
    if len(set(names)) < len(names):
        parser.error(f'--model: names have to differ, not {names}')
    for option in ('megabytes', 'megapixels', 'frames', 'requests'):
        value = getattr(args, f'max_{option}')
        if value <= 0:
            parser.error(f'--max-{option} has to be above 0, not {value:g}')
    return args


def _import_page():
    """Late: Gradio takes seconds to import, and is not installed by default."""
    try:
        from . import page
    except ModuleNotFoundError as error:
        if error.name != 'gradio':
            raise
        raise SystemExit(
            "error: the page needs Gradio: pip install 'mmseg_ovs[page]'"
        ) from error
    return page


def start(args: argparse.Namespace):
    """Serve in the background; returns the page, whose ``close()`` ends it."""
    limits = Limits(
        args.max_megabytes, args.max_megapixels, args.max_frames, args.max_requests
    )
    keep_freed_memory()  # before the threads that predict
    models = {}
    for name, *files in args.model:
        model = PageModel(
            *files,
            device=args.device,
            allow_random=args.allow_random,
            **chosen_switches(args),
        )
        models[f'{name} (RANDOM WEIGHTS: noise)' if model.is_random else name] = model
    gradio_page = _import_page()
    page = gradio_page.build_page(models, limits)
    try:
        url = gradio_page.launch_page(page, args.host, args.port, limits)
    except OSError as error:
        raise SystemExit(f'error: {error}') from error
    print(f'The page is at {url} (Ctrl-C ends it)', flush=True)
    if args.host not in _LOOPBACK:
        print('Everybody who reaches this address can use it: there is no password')
    return page


@exit_with_message()
def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    args = parse_args(argv)
    # Also what ends services: uploads are deleted on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start(args).block_thread()
    return 0


if __name__ == '__main__':
    sys.exit(main())
