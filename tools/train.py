"""Train a model on a data set, with the command line of mmseg's ``tools/train.py``.

python tools/train.py talk2dino_dinov2-reg-b14 --data coco-captions
python tools/train.py my_config.py
"""

import argparse

from mmseg_ovs.engine.launch import (
    add_common_arguments,
    add_hook,
    enable_amp,
    load_config,
    make_deterministic,
)
from mmseg_ovs.engine.quiet_runner import build_runner
from mmseg_ovs.engine.resume import resume_training
from mmseg_ovs.utils import exit_with_message


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model on a data set')
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        action='store_true',
        help='resume from the latest checkpoint in the work folder, or from '
        '--cfg-options load_from=CHECKPOINT',
    )
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision (needs a GPU)'
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='two runs on one machine give bit-identical weights, also when resumed; '
        'the seed is randomness.seed of the config, else 0',
    )
    return parser.parse_args()


@exit_with_message()
def main() -> None:
    args = parse_args()
    cfg = load_config(args, train=True)
    cfg.resume = False
    if args.resume:
        resume_training(cfg, args.cfg_options)
    if args.amp:
        enable_amp(cfg)
    for hook in ('IgnoreIndex', 'CheckFinite', 'ResumeReport', 'RunSummary'):
        add_hook(cfg, f'{hook}Hook')
    if args.deterministic:
        make_deterministic(cfg)
    runner = build_runner(cfg)
    runner.train()


if __name__ == '__main__':
    main()
