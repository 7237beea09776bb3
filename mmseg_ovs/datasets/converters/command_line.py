"""What the converters' command lines share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmseg_ovs.utils import OpenVocabError

from .conversion import Conversion, run

EXIT_CODES = (
    'Exit codes: 0, the published split is complete; 1, images are missing or broken '
    '(the report lists them, all others are converted); 2, an error must be fixed '
    'first. An interrupted run continues where it stopped.'
)


def make_parser(description: str, folder: str) -> argparse.ArgumentParser:
    """Parser with the source folder, ``--splits`` and ``--workers``."""
    parser = argparse.ArgumentParser(description=description, epilog=EXIT_CODES)
    parser.add_argument('folder', type=Path, help=folder)
    parser.add_argument(
        '--splits',
        nargs='+',
        choices=('train', 'val'),
        default=('train', 'val'),
        help='default: both; benchmarks need only val',
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='number of processes'
    )
    return parser


def convert_splits(args: argparse.Namespace, plan: Callable[[str], Conversion]) -> int:
    """Convert the splits one after the other; the exit code."""
    code = 0
    for split in args.splits:
        try:
            report = run(plan(split), args.workers)
        except (OpenVocabError, OSError) as error:
            print(f'{split}: {error}', file=sys.stderr)
            code = 2
            continue
        print(report)
        code = max(code, 0 if report.complete else 1)
    return code
