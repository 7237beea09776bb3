"""Write a model with a data set as one flat config for tools that need a file.

    python tools/compose.py talk2dino_dinov2-reg-b14 voc21 --out talk2dino_voc21.py

MMSegmentation's scripts and ``mim test mmsegmentation`` can run the file wherever
mmseg_ovs is installed.
"""

import argparse
from pathlib import Path

from mmseg_ovs.composition import ConfigOptions, apply_options, compose
from mmseg_ovs.utils import OutputFile, exit_with_message, replacing


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('model', help='name of a model or path of its config')
    parser.add_argument('data', help='name of a data set or path of its config')
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        action=OutputFile,
        help='the .py file to write',
    )
    parser.add_argument(
        '--train', action='store_true', help='include training data and schedule'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        help='override settings of the config',
    )
    args = parser.parse_args(argv)
    if args.out.suffix != '.py':
        parser.error(f'--out has to be a .py file, not {args.out}')
    return args


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Compose and write."""
    args = parse_args(argv)
    cfg = compose(args.model, args.data, args.train)
    apply_options(cfg, args.cfg_options)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out) as temporary:
        cfg.dump(temporary)
    print(f'{args.out}: {args.model} on {args.data}')


if __name__ == '__main__':
    main()
