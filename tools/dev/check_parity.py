"""Compare our modules with the outputs of the authors' code in golden files.

    python tools/dev/check_parity.py PATH... [--weights-dir DIR]

Each file names the official constructor and contains weights, inputs and outputs. Our
counterpart is built from it, loads the weights in the usual way and is compared output
by output. Prints one line per file. The exit code is 1 if any file fails or names an
unknown component.
"""

import argparse
import sys
from pathlib import Path

from parity import GoldenFileError, check

import mmseg_ovs  # noqa: F401  registers the models
from mmseg_ovs.models.utils import CheckpointError


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('paths', nargs='+', type=Path, help='golden files or folders')
    parser.add_argument(
        '--weights-dir',
        type=Path,
        help='published weights for files that hold none (default: ../weights beside '
        'the folder of the file)',
    )
    return parser.parse_args()


def main() -> int:
    """Check every file; 1 if any fails."""
    args = parse_args()
    files = []
    for path in args.paths:
        files += sorted(path.glob('*.safetensors')) if path.is_dir() else [path]
    failed = 0
    for path in files:
        try:
            comparison = check(path, args.weights_dir)
        except (GoldenFileError, CheckpointError) as error:
            print(f'{path.name:<34} FAILED: {error}')
            failed += 1
            continue
        print(comparison)
        failed += bool(comparison.problems)
    print(f"{len(files) - failed} of {len(files)} files agree with the authors' code")
    return int(failed > 0 or not files)


if __name__ == '__main__':
    sys.exit(main())
