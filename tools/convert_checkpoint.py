"""Combine published weights into one checkpoint, or export parts of a checkpoint.

Name the file of each part by its dotted name in the model (``FILE::PREFIX`` uses only
the keys below a prefix):

    python tools/convert_checkpoint.py talk2dino_dinov2-reg-b14 \\
        --part backbone=dinov2_vitb14_reg4_pretrain.pth \\
        --part text_encoder=ViT-B-16.pt \\
        --part decode_head.text_projection=vitb_mlp_infonce.pth --out talk2dino.pth

The layouts of Meta, timm and Hugging Face are recognised, as in a config; a file that
does not fit is an error. Exports have our layout, which is mostly the authors':

    python tools/convert_checkpoint.py CONFIG --checkpoint talk2dino.pth \\
        --export backbone=dinov2_vitb14_reg4_pretrain.pth
"""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from safetensors.torch import save_file
from torch import Tensor, nn

from mmseg_ovs.composition import MODEL_KEYS, add_config_arguments, read_config
from mmseg_ovs.jobs import file_digest
from mmseg_ovs.models.text_encoders import OpenCLIPTextEncoder
from mmseg_ovs.models.utils import (
    CheckpointError,
    brings_weights,
    load_pretrained,
    read_state_dict,
)
from mmseg_ovs.models.utils.key_report import key_report
from mmseg_ovs.utils import OutputFile, exit_with_message, replacing
from mmseg_ovs.version import __version__


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add_config_arguments(parser)
    parser.add_argument(
        '--part',
        action='append',
        default=[],
        metavar='NAME=FILE[::PREFIX]',
        help="a part and its published file; 'model' means the whole model",
    )
    parser.add_argument(
        '--out', type=Path, action=OutputFile, help='with --part: checkpoint to write'
    )
    parser.add_argument('--checkpoint', help='with --export: checkpoint of the model')
    parser.add_argument(
        '--export',
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='write a part as a plain state dict (.safetensors or .pth)',
    )
    args = parser.parse_args(argv)
    if bool(args.part) == bool(args.export):
        parser.error('give either --part and --out, or --checkpoint and --export')
    if args.part and not args.out or args.export and not args.checkpoint:
        parser.error('--part needs --out, --export needs --checkpoint')
    for name in ('part', 'export'):
        pairs = [item.partition('=') for item in getattr(args, name)]
        if not all(key and file for key, _, file in pairs):
            parser.error(f'--{name} takes NAME=FILE')
        if len({key for key, _, _ in pairs}) < len(pairs):
            parser.error(f'--{name} names a part twice')
        setattr(args, name, {key: file for key, _, file in pairs})
    return args


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Convert, or export."""
    args = parse_args(argv)
    cfg = read_config(args, read=MODEL_KEYS)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if args.part:
        convert(cfg, args.part, args.out)
    else:
        export(cfg, args.checkpoint, args.export)


def convert(cfg: Config, parts: dict[str, str], out: Path) -> None:
    """Load every part's file, report, and write what was loaded.

    Raises:
        CheckpointError: A file does not fit its part, or there is no such part.
    """
    given = {name: source.partition('::')[::2] for name, source in parts.items()}
    for name, (file, _) in given.items():
        _name_clip_archive(cfg.model, name, file)
    model = MODELS.build(cfg.model)
    loaded: dict[str, Tensor] = {}
    for name, (file, prefix) in given.items():
        module = find_part(model, name)
        print(f'{name} ({type(module).__name__}) from {file}')
        print(f'  {load_part(module, file, prefix)}'.replace('\n', '\n  '))
        below = '' if name == 'model' else f'{name}.'
        loaded.update({f'{below}{k}': v for k, v in module.state_dict().items()})
    report_rest(model, loaded)
    sources = {
        name: f'{Path(file).name} SHA-256 {file_digest(file)}'
        for name, (file, _) in given.items()
    }
    meta = dict(mmseg_ovs_version=__version__, parts=sources)
    with replacing(out) as temporary:
        torch.save(dict(state_dict=loaded, meta=meta), temporary)
    numbers = sum(value.numel() for value in loaded.values())
    print(f'{out}: {len(loaded)} tensors, {numbers:,} numbers')


def _name_clip_archive(model: ConfigDict, name: str, file: str) -> None:
    """open_clip reads the whole CLIP file, so the encoder has to load it itself."""
    if name == 'text_encoder' and isinstance(model.get(name, {}).get('model'), str):
        model[name].pretrained = file


def find_part(model: nn.Module, name: str) -> nn.Module:
    """A part by its dotted name.

    Raises:
        CheckpointError: There is none with weights.
    """
    if name == 'model':
        return model
    try:
        part = model.get_submodule(name)
    except AttributeError:
        part = None
    if part is None or not part.state_dict():
        having = [key for key, child in model.named_modules() if child.state_dict()]
        shown = [key for key in having if key and key.count('.') < 2]
        raise CheckpointError(
            f'The model has no part {name!r} with weights; there are {shown}'
        )
    return part


def load_part(module: nn.Module, file: str, prefix: str) -> str:
    """Load strictly; returns the report of the keys.

    Raises:
        CheckpointError: The file cannot be read or does not fit.
    """
    if isinstance(module, OpenCLIPTextEncoder) and module.brings_weights:
        module.init_weights()
        count = len(module.state_dict())
        return f'{count} keys of the text tower taken by open_clip'
    state = load_pretrained(module, file, prefix)
    convert_keys = getattr(module, 'convert_state_dict', dict)
    return key_report(state, convert_keys(state))


def report_rest(model: nn.Module, loaded: dict[str, Tensor]) -> None:
    """Say what the checkpoint leaves to the config.

    Raises:
        CheckpointError: A part is there by half, which nothing could load.
    """
    for name, part in model.named_children():
        keys = [f'{name}.{key}' for key in part.state_dict()]
        missing = [key for key in keys if key not in loaded]
        if not missing:
            continue
        if len(missing) < len(keys):
            raise CheckpointError(
                f'{len(missing)} of {len(keys)} weights of {name} are in no file: '
                f'{"; ".join(missing[:10])}'
            )
        if brings_weights(part):
            print(f'{name}: not in the checkpoint; the config names its weights')
        else:
            print(
                f'{name}: NOT in the checkpoint, and the config names no weights: '
                'training may start from it, a test refuses it'
            )


def export(cfg: Config, checkpoint: str, parts: dict[str, str]) -> None:
    """Write parts of a checkpoint as plain state dicts that load again.

    Raises:
        CheckpointError: The checkpoint has no weights for a part, or does not fit it.
    """
    model = MODELS.build(cfg.model)
    state = read_state_dict(checkpoint)
    for name, file in parts.items():
        part = find_part(model, name)
        below = '' if name == 'model' else f'{name}.'
        own = {
            k.removeprefix(below): v.contiguous()
            for k, v in state.items()
            if k.startswith(below)
        }
        if not own:
            raise CheckpointError(f'{checkpoint} has no keys under {below!r}')
        load_pretrained(part, own)  # what is written can be read
        with replacing(file) as temporary:
            write = save_file if str(file).endswith('.safetensors') else torch.save
            write(own, temporary)
        print(f'{file}: {len(own)} tensors of {name}')


if __name__ == '__main__':
    main()
