"""Export image encoder, neck and head of a model as one graph, and check it.

    python tools/export.py CONFIG --checkpoint CHECKPOINT --out model.onnx

Text vectors are an input (``tools/encode_vocabulary.py`` makes them), so classes can
change without a new export. With ``--vocabulary`` they are part of the graph. Windows,
argmax, background and refinement are up to the caller, see docs/export.md.
"""

import argparse

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.composition import (
    MODEL_KEYS,
    add_allow_random,
    add_config_arguments,
    read_config,
)
from mmseg_ovs.export import FORMATS, export_model
from mmseg_ovs.export.formats import OPSET
from mmseg_ovs.export.score_graph import left_out
from mmseg_ovs.utils import OutputFile, exit_with_message


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add_config_arguments(parser)
    parser.add_argument(
        '--checkpoint',
        help='checkpoint of the whole model (default: each part loads the weights in '
        'its init_cfg)',
    )
    parser.add_argument(
        '--out', required=True, action=OutputFile, help='the file to write'
    )
    parser.add_argument(
        '--format',
        choices=sorted(FORMATS),
        default='onnx',
        help='onnx, or torch for a torch.export program (.pt2)',
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='image size (default: the size that the backbone sees; required where '
        "test_cfg has mode 'whole')",
    )
    parser.add_argument(
        '--vocabulary',
        help='store these classes in the graph instead of a text input (shipped '
        'vocabulary, .json or .txt file)',
    )
    parser.add_argument(
        '--rows', type=int, help='fixed number of text rows (default: any)'
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images per call')
    parser.add_argument(
        '--dynamic-batch', action='store_true', help='allow any number per call'
    )
    parser.add_argument('--opset', type=int, default=OPSET, help='ONNX operator set')
    parser.add_argument(
        '--tolerance',
        type=float,
        default=1e-4,
        help='largest allowed difference from the model',
    )
    add_allow_random(parser)
    args = parser.parse_args(argv)
    if args.rows is not None and args.vocabulary is not None:
        parser.error('--rows is for a text input, --vocabulary leaves none')
    if args.opset != OPSET and args.format != 'onnx':
        parser.error('--opset is for --format onnx')
    return args


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Export and report."""
    args = parse_args(argv)
    form = FORMATS[args.format]
    form = form(args.opset) if args.format == 'onnx' else form()
    form.check_tools()  # before the weights are loaded
    cfg = read_config(args, read=(*MODEL_KEYS, 'load_from'))
    model = OpenVocabInferencer(
        cfg, args.checkpoint, 'cpu', allow_random=args.allow_random
    ).model
    if args.vocabulary is not None:
        model.set_vocabulary(args.vocabulary)
    result = export_model(
        model,
        args.out,
        form,
        size=args.size,
        batch=None if args.dynamic_batch else args.batch_size,
        rows=args.rows,
        bake_vocabulary=args.vocabulary is not None,
        tolerance=args.tolerance,
        config=args.config,
    )
    ours, theirs = result.seconds
    print(f'{result.path}: {result.path.stat().st_size / 2**20:.1f} MiB')
    for key in ('size', 'grid', 'output', 'channels', 'mean', 'std', 'text'):
        print(f'  {key}: {result.metadata[key]}')
    print(
        f'largest difference from the model: {result.error:.2e} in scores up to '
        f'{result.peak:.2g} (tolerance {args.tolerance:g})'
    )
    print(f'seconds a run: {ours:.3f} the model, {theirs:.3f} the file')
    missing = left_out(model)
    if missing:
        print(f'not in the graph: {", ".join(missing)}')


if __name__ == '__main__':
    main()
