"""Test a model on a data set, with the command line of mmseg's ``tools/test.py``.

    python tools/test.py talk2dino_dinov2-reg-b14 --data voc21
    python tools/test.py my_config.py checkpoint.pth

Without a checkpoint, each part loads the weights in its ``init_cfg``. This tests a
model of published parts (a frozen backbone, a text encoder, a projection file) without
training.

At the end the protocol is printed and written to ``protocol.json`` next to the log. It
lists what the scores depend on, from input size to the hash of the weights.
"""

import argparse
from pathlib import Path

from mmengine.runner import Runner

from mmseg_ovs.acceleration import add_switches, chosen_switches
from mmseg_ovs.composition import add_allow_random
from mmseg_ovs.composition.data_files import check_outside_images
from mmseg_ovs.engine.launch import (
    add_common_arguments,
    add_hook,
    load_config,
    without_strategy,
)
from mmseg_ovs.engine.quiet_runner import build_runner
from mmseg_ovs.engine.testing import (
    augment_at_test_time,
    draw_predictions,
    without_scores,
)
from mmseg_ovs.models.utils import (
    CheckpointError,
    init_own_weights,
    read_checkpoint,
    require_weights,
    unwrap_model,
)
from mmseg_ovs.utils import OutputFolder, exit_with_message


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a model on a data set')
    add_common_arguments(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint of the whole model (default: each part loads the weights in '
        "its init_cfg; or the config's load_from if set)",
    )
    parser.add_argument(
        '--out',
        action=OutputFolder,
        help='folder for predicted label maps, with the subfolders of the images',
    )
    parser.add_argument('--show', action='store_true', help='show each prediction')
    parser.add_argument(
        '--show-dir',
        action=OutputFolder,
        help='folder for overlays (in vis_data/vis_image), one per image unless the '
        'visualization hook of the config sets an interval',
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds to show each prediction'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation: tta_pipeline of the config (default: the image '
        'and its mirror image)',
    )
    add_switches(parser)
    add_allow_random(parser)
    return parser.parse_intermixed_args()


def run_test(runner: Runner, checkpoint: str | None, allow_random: bool) -> None:
    """Test, with a readable error if the checkpoint cannot be read."""
    model, loaded = unwrap_model(runner.model), bool(runner._load_from)
    require_weights(model, loaded, allow_random)
    if not loaded:  # CheckpointGuardHook initialises what a checkpoint may lack
        init_own_weights(model, allow_random)
    try:
        runner.test()
    except CheckpointError:
        raise
    except Exception:
        if checkpoint:
            read_checkpoint(checkpoint)  # says more than MMEngine if this is the cause
        raise


@exit_with_message()
def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    without_strategy(cfg)
    outputs = {'--out': args.out, '--show-dir': args.show_dir}
    outputs['--work-dir'] = cfg.work_dir
    check_outside_images(cfg.test_dataloader.dataset, outputs)
    add_hook(cfg, 'CheckpointGuardHook')
    add_hook(cfg, 'IgnoreIndexHook')
    add_hook(cfg, 'ProtocolHook')
    add_hook(cfg, 'RunSummaryHook')
    add_hook(cfg, 'AccelerationHook', **chosen_switches(args))
    if args.checkpoint:
        if '://' not in args.checkpoint and not Path(args.checkpoint).exists():
            raise SystemExit(f'error: No checkpoint at {args.checkpoint}')
        cfg.load_from = args.checkpoint
    without_scores(cfg, bool(args.out or args.show or args.show_dir))
    if args.show or args.show_dir:
        draw_predictions(cfg, args.show_dir, args.show, args.wait_time)
    if args.out:
        add_hook(cfg, 'LabelMapsHook', out_dir=args.out)
    if args.tta:
        augment_at_test_time(cfg)
    runner = build_runner(cfg)
    run_test(runner, args.checkpoint, args.allow_random)


if __name__ == '__main__':
    main()
