"""Write ``docs/model_zoo.md`` from the metafiles of the configs.

python tools/generate_model_zoo.py
python tools/generate_model_zoo.py --check   # only say whether it is up to date
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmseg_ovs.benchmark.zoo import Zoo, missing_facts
from mmseg_ovs.benchmark.zoo_page import zoo_page
from mmseg_ovs.utils import replacing

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--configs', type=Path, default=ROOT / 'configs')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'model_zoo.md')
    parser.add_argument(
        '--check', action='store_true', help='write nothing; exit with 1 if outdated'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the page, or compare it."""
    args = parse_args(argv)
    zoo = Zoo.read(args.configs)
    missing = [line for name in zoo.collections for line in missing_facts(zoo, name)]
    if missing:
        raise SystemExit('Metafiles lack facts:\n' + '\n'.join(missing))
    page = zoo_page(zoo)
    if args.check:
        if not args.out.is_file() or args.out.read_text(encoding='utf-8') != page:
            raise SystemExit(f'{args.out} is outdated: run {Path(__file__).name}')
        return
    with replacing(args.out) as temporary:
        temporary.write_text(page, encoding='utf-8')
    print(f'{args.out}: {len(zoo.collections)} methods, {len(zoo.models)} configs')


if __name__ == '__main__':
    main()
