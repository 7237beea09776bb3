"""Encode a vocabulary with a model's text encoder; writes names and vectors.

With this file (``PrecomputedTextEncoder``) a model can be tested, exported or shared
without its text encoder:

    python tools/encode_vocabulary.py talk2dino_dinov2-reg-b14 \\
        --vocabulary ade20k_150 --out ade20k_150.safetensors
"""

import argparse
import json

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmseg_ovs.composition import (
    MODEL_KEYS,
    add_allow_random,
    add_config_arguments,
    read_config,
)
from mmseg_ovs.engine import data_vocabulary
from mmseg_ovs.models.text_encoders import BaseTextEncoder, save_embeddings
from mmseg_ovs.models.utils import load_pretrained, require_weights
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import Device, OutputFile, exit_with_message


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add_config_arguments(parser)
    parser.add_argument(
        '--vocabulary',
        nargs='+',
        default=[],
        help='shipped vocabularies or .json/.txt files, all of which are encoded; '
        '--data adds the vocabulary of the data set',
    )
    parser.add_argument(
        '--out', required=True, action=OutputFile, help='the .safetensors file to write'
    )
    parser.add_argument(
        '--checkpoint', help='checkpoint of the model, if it contains the text encoder'
    )
    parser.add_argument('--device', action=Device, default='cpu')
    add_allow_random(parser)
    args = parser.parse_args(argv)
    if not (args.vocabulary or args.data):
        parser.error('give --vocabulary, --data or both')
    return args


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Encode the names and write the file."""
    args = parse_args(argv)
    cfg = read_config(args, read=MODEL_KEYS)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if 'text_encoder' not in cfg.get('model', {}):
        raise SystemExit(f'{args.config} has no model.text_encoder.')
    encoder = MODELS.build(cfg.model.text_encoder)
    if not isinstance(encoder, BaseTextEncoder):
        raise SystemExit(
            f'model.text_encoder is a {type(encoder).__name__}, not a text encoder of '
            'mmseg_ovs.'
        )
    if getattr(encoder, 'template_average', None) == 'synonyms':
        raise SystemExit(
            f"{args.config} has template_average='synonyms': its vectors belong to the "
            'synonyms of a class together, and a file has one for each name. Give '
            '--cfg-options model.text_encoder.template_average=normalized'
        )
    if args.checkpoint:
        load_pretrained(encoder, args.checkpoint, prefix='text_encoder')
    else:
        require_weights(
            nn.ModuleDict(dict(text_encoder=encoder)), allow_random=args.allow_random
        )
        encoder.init_weights()
    encoder.to(args.device).eval()

    vocabularies = [Vocabulary.build(source) for source in args.vocabulary]
    if args.data:
        vocabularies.append(data_vocabulary(cfg))
    names = list(dict.fromkeys(row for v in vocabularies for row in v.rows))
    with torch.no_grad():
        embeddings = encoder.encode_names(names)
    text_encoder = json.dumps(cfg.model.text_encoder.to_dict(), default=str)
    save_embeddings(args.out, names, embeddings, {'text_encoder': text_encoder})
    shape = ' x '.join(map(str, embeddings.shape))
    print(f'{args.out}: {len(names)} names, embeddings {shape}')


if __name__ == '__main__':
    main()
