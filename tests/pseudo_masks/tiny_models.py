"""Small models of the real classes with random weights, and images with captions."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from mmseg_ovs.pseudo_masks import build_sam
from mmseg_ovs.pseudo_masks.tagging import TAGGER_NAME

SAM = dict(
    embed_dim=16,
    depth=2,
    num_heads=2,
    global_attn_indexes=[1],
    image_size=64,
    patch_size=16,
    window_size=2,
    prompt_dim=16,
    decoder_heads=2,
    decoder_mlp_dim=16,
)
_LEXICON = dict(
    DT='a the some',
    NN='dog cat ball tree pizza man cookie photo frisbee t-shirt',
    NNS='dogs cats balls trees pizzas men cookies',
    JJ='red small old happy',
    VBZ='holds sees has chases',
    IN='of near under with',
)
CAPTIONS = [
    ['A dog chases the ball.', 'A red dog has a ball near the tree.'],
    ['Some dogs near a tree'],
    ['A photo of the old man with a frisbee.', 'THE MAN HOLDS A RED BALL!'],
    ['A photo of the happy'],
    ['A cat under the tree. The cat sees some men.'],
    ['A small cat has the ball'],
    ['Some cats with a dog'],
]


def save_tagger(folder: Path) -> Path:
    """NLTK's tagger, trained on made-up sentences and saved as NLTK publishes it."""
    from nltk.tag.perceptron import PerceptronTagger

    words = {tag: text.split() for tag, text in _LEXICON.items()}
    draw = random.Random(0)
    random.seed(0)  # the tagger shuffles
    frames = ['DT JJ NN VBZ DT NN', 'DT NNS IN DT NN', 'DT NN IN DT JJ NN', 'DT NN']
    sentences = [
        [(draw.choice(words[tag]), tag) for tag in draw.choice(frames).split()]
        for _ in range(400)
    ]
    tagger = PerceptronTagger(load=False)
    tagger.train(sentences)
    weights, lexicon, classes = tagger.encode_json_obj()
    folder.mkdir(parents=True, exist_ok=True)
    parts = dict(weights=weights, tagdict=lexicon, classes=classes)
    for name, part in parts.items():
        (folder / f'{TAGGER_NAME}.{name}.json').write_text(json.dumps(part))
    return folder


def save_detector(folder: Path) -> Path:
    """A Grounding DINO with its processor; the tokenizer spells words out."""
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder.mkdir(parents=True, exist_ok=True)
    letters = 'abcdefghijklmnopqrstuvwxyz'
    # The numbers of BERT's, which Grounding DINO knows by heart.
    special = {0: '[PAD]', 100: '[UNK]', 101: '[CLS]', 102: '[SEP]', 103: '[MASK]'}
    special |= {1012: '.', 1029: '?'}
    words = iter(['dog', 'cat', '-', *letters, *(f'##{x}' for x in letters)])
    vocabulary = [
        special.get(i) or next(words, f'[unused{i}]') for i in range(max(special) + 1)
    ]
    (folder / 'vocab.txt').write_text('\n'.join(vocabulary) + '\n')
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=SwinConfig(
                image_size=64,
                embed_dim=8,
                depths=[1, 1, 1, 1],
                num_heads=[1, 1, 1, 1],
                window_size=4,
                out_indices=[2, 3, 4],
            ),
            text_config=BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=32,
            ),
            d_model=32,
            num_queries=10,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_text_len=24,
        )
    )
    model.save_pretrained(folder)
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(size=dict(shortest_edge=96, longest_edge=128)),
        BertTokenizerFast(str(folder / 'vocab.txt')),
    ).save_pretrained(folder)
    return folder


def save_sam(folder: Path) -> tuple[Path, Path]:
    """Numbers and weights of a SAM."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    sam = build_sam(**SAM)
    # As initialised, the decoder says the same of all pixels and boxes.
    decoder = sam.mask_decoder
    for layer in (
        *decoder.output_upscaling.modules(),
        *decoder.output_hypernetworks_mlps[0].layers,
    ):
        if isinstance(layer, (nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight)
    torch.save(sam.state_dict(), folder / 'sam.pth')
    (folder / 'sam.json').write_text(json.dumps(SAM))
    return folder / 'sam.json', folder / 'sam.pth'


def save_images(folder: Path) -> tuple[Path, Path]:
    """A captions file and the folder of its images; no two are of the same size."""
    draw = np.random.default_rng(0)
    images, annotations = [], []
    (folder / 'images').mkdir(parents=True)
    for number, captions in enumerate(CAPTIONS):
        size = (40 + 3 * number, 60 - 2 * number)
        name = f'{number:03d}.png'
        pixels = draw.integers(0, 255, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / 'images' / name), cv2.blur(pixels, (9, 9)))
        images.append(dict(id=100 + number, file_name=name))
        annotations += [dict(image_id=100 + number, caption=text) for text in captions]
    content = dict(images=images, annotations=annotations)
    (folder / 'captions.json').write_text(json.dumps(content))
    return folder / 'captions.json', folder / 'images'
