"""Test models on data sets and write a table with the protocol of each score.

    python tools/benchmark.py plan.yml --out work_dirs/benchmark
    python tools/benchmark.py --models Talk2DINO ovs-dino_dinov2-b14 \\
        --datasets voc21 ade20k --devices 0 1
    python tools/benchmark.py common_protocol --datasets voc20 ade20k
    python tools/benchmark.py ovs-dino_table1 \\
        --checkpoints ovs-dino_dinov2-b14=work_dirs/mine/epoch_25.pth

Models are names or paths of configs, methods of the metafiles (all their models with
published scores), or ``all`` (the models of all methods that have published weights).
Data sets are names or paths of configs (default: the benchmarks of the methods). Plans
are YAML files or names of ``configs/plans``: see ``docs/benchmarks.md`` and
``docs/compare.md``.

Each test runs in its own process. Results are kept in ``--out`` under the hash of
config, weights, data and versions, so a restart computes only what is missing or has
changed. Missing data sets are reported as absent. The exit code is 1 if a test failed
or a model has no weights: it has to be trained first.
"""

import argparse
from pathlib import Path

import torch

from mmseg_ovs.benchmark.command_line import (
    add_plan_arguments,
    check_plan_arguments,
    plan_of,
)
from mmseg_ovs.benchmark.plan import Plan
from mmseg_ovs.benchmark.processes import run_rows
from mmseg_ovs.benchmark.rows import (
    DONE,
    FAILED,
    PENDING,
    UNTRAINED,
    Row,
    prepare_rows,
)
from mmseg_ovs.benchmark.tables import write_tables
from mmseg_ovs.benchmark.zoo import Zoo
from mmseg_ovs.composition import add_allow_random
from mmseg_ovs.composition.names import configs_folder
from mmseg_ovs.evaluation.protocol import format_protocol
from mmseg_ovs.jobs import alone
from mmseg_ovs.utils import (
    OutputFolder,
    check_device,
    exit_with_message,
    remove_leftovers,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add_plan_arguments(parser)
    parser.add_argument(
        '--datasets',
        nargs='+',
        default=[],
        help="data sets (default: the plan's, else the methods')",
    )
    parser.add_argument(
        '--out',
        type=Path,
        action=OutputFolder,
        default=Path('work_dirs/benchmark'),
        help='output folder',
    )
    parser.add_argument(
        '--devices',
        nargs='+',
        help="GPU numbers or 'cpu'; each runs one test at a time (default: all GPUs)",
    )
    add_allow_random(parser)
    args = parser.parse_args(argv)
    check_plan_arguments(parser, args)
    if args.devices is None:
        args.devices = [str(i) for i in range(torch.cuda.device_count())] or ['cpu']
    if len(set(args.devices)) < len(args.devices):
        parser.error('a device is named twice')
    for device in args.devices:
        check_device(f'cuda:{device}' if device.isdecimal() else device)
    return args


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Run what is missing, write and print the table."""
    args = parse_args(argv)
    zoo = Zoo.read(configs_folder())
    plan = plan_of(args, zoo)
    with alone(args.out):
        for folder in (args.out, *args.out.glob('runs/*/')):
            remove_leftovers(folder)
        rows = run(plan, zoo, args)
    if any(row.status in (FAILED, UNTRAINED) for row in rows):
        raise SystemExit(1)


def run(plan: Plan, zoo: Zoo, args: argparse.Namespace) -> list[Row]:
    """With the folder to oneself."""
    print(plan.title)
    others = [model.name for model in plan.models if model.config is None]
    if others:
        print(f'Published figures alone, the methods are not here: {"; ".join(others)}')
    for model in plan.models:
        if model.untrained and not args.allow_random:
            print(f'To be trained first: {model.name}: {model.untrained}')
    if plan.left_out:
        print(f'Without published weights, left out: {", ".join(plan.left_out)}')
    if plan.protocol:
        print(f'Common protocol: {plan.protocol}')
    print('Looking at configs, weights and data ...', flush=True)
    rows = prepare_rows(plan, args.out, args.allow_random)
    for missing in dict.fromkeys(row.missing for row in rows if row.missing):
        names = dict.fromkeys(row.data.name for row in rows if row.missing == missing)
        print(f'  {", ".join(names)}: absent ({missing})', flush=True)
    for row in [row for row in rows if row.status in (DONE, PENDING, FAILED)]:
        note = 'done before' if row.status == DONE else row.status
        print(f'  {row.title}: {note}{row.reason and f" ({row.reason})"}', flush=True)

    def report(row: Row) -> None:
        figure = f'mIoU {row.metrics["mIoU"]}' if row.status == DONE else row.reason
        print(f'{row.title}: {row.status}, {figure}', flush=True)
        write_tables(rows, zoo, args.out, plan.title)

    write_tables(rows, zoo, args.out, plan.title)
    run_rows(
        rows,
        Path(__file__).with_name('test.py'),
        args.devices,
        report,
        ['--allow-random'] if args.allow_random else [],
    )
    for row in rows:
        if row.status == DONE:
            print(f'\n{row.title}\n{format_protocol(row.protocol)}')
    table = write_tables(rows, zoo, args.out, plan.title)
    print(f'\n{table}\n\nWritten to {args.out}/table.*')
    return rows


if __name__ == '__main__':
    main()
