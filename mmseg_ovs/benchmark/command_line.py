"""Arguments that name a plan, and the plan that they give."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmseg_ovs.composition import ConfigOptions

from .plan import Plan, make_plan, read_plan
from .zoo import Zoo


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``plan``, ``--models``, ``--checkpoints`` and ``--cfg-options``."""
    parser.add_argument('plan', nargs='?', help='YAML file, or name of a shipped plan')
    parser.add_argument(
        '--models', nargs='+', help="models, methods or 'all' (over the plan's)"
    )
    parser.add_argument(
        '--checkpoints',
        nargs='+',
        default=[],
        metavar='NAME=FILE',
        help='checkpoints of whole models by their names in the plan or their configs',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        help='override settings of all tests',
    )


def check_plan_arguments(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> None:
    """End the command if no plan can be made; ``args.checkpoints`` becomes a dict."""
    if not (args.plan or args.models):
        parser.error('give a plan or --models')
    pairs = [item.partition('=') for item in args.checkpoints]
    for name, equals, file in pairs:
        if not (name and equals and file):
            parser.error(f'--checkpoints takes NAME=FILE, not {name}{equals}{file}')
    args.checkpoints = {name: file for name, _, file in pairs}


def plan_of(
    args: argparse.Namespace, zoo: Zoo, datasets: Sequence[str] | None = None
) -> Plan:
    """The plan of the command line.

    Args:
        args: Of :func:`add_plan_arguments`, checked.
        zoo: The metafiles.
        datasets: In the place of ``args.datasets``.

    Raises:
        PlanError: See :func:`read_plan` and :meth:`Plan.with_checkpoints`.
    """
    datasets = args.datasets if datasets is None else datasets
    if args.plan:
        models = args.models or ()
        plan = read_plan(args.plan, zoo, models, datasets, args.cfg_options)
    else:
        plan = make_plan(args.models, datasets, zoo, args.cfg_options)
    return plan.with_checkpoints(args.checkpoints)
