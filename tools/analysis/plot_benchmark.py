"""The table of a benchmark as a radar or bars (OVS-DINO, Figure 1).

    python tools/benchmark.py ovs-dino_table1 --out work_dirs/ovs-dino_table1
    python tools/analysis/plot_benchmark.py work_dirs/ovs-dino_table1/table.csv \\
        --out out/figure1.png

Reads ``table.csv``. Models without measured figures are drawn with their published
ones, dashed (radar) or hatched (bars). See docs/benchmarks.md.
"""

import argparse

from mmseg_ovs.benchmark.score_figures import plot_scores, read_scores
from mmseg_ovs.utils import OutputFile, exit_with_message


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('table', help='table.csv of a benchmark')
    parser.add_argument(
        '--out',
        required=True,
        action=OutputFile,
        help='picture, .png, .pdf or .svg',
    )
    parser.add_argument('--kind', choices=('radar', 'bars'), default='radar')
    parser.add_argument(
        '--figures',
        choices=('either', 'measured', 'published'),
        default='either',
        help='whose (default: measured ones of models that have any, else published)',
    )
    parser.add_argument(
        '--models',
        nargs='+',
        help='names in the table, in this order (default: all); the last is red',
    )
    parser.add_argument('--title', default='', help='heading of the picture')
    args = parser.parse_args(argv)
    if not args.out.lower().endswith(('.png', '.pdf', '.svg')):
        parser.error(f'--out has to end in .png, .pdf or .svg, not {args.out}')
    return args


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Read, draw, say what is not in the picture."""
    args = parse_args(argv)
    scores = read_scores(args.table, args.figures, args.models)
    if args.kind == 'radar':
        scores = scores.whole()
    plot_scores(args.out, scores, args.kind, args.title)
    print(
        f'{len(scores.models)} models on {len(scores.datasets)} data sets: {args.out}'
    )
    if scores.left_out:
        print(f'Left out, for want of figures: {"; ".join(scores.left_out)}')


if __name__ == '__main__':
    main()
