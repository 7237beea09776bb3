"""PixelCLIP's whole inference, through the public segmentor."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_ovs.models.text_encoders import TowerTextEncoder
from mmseg_ovs.models.utils import complete_state
from mmseg_ovs.structures import Vocabulary

from .clip_protocol import GivenPrompts
from .clip_variants import tower
from .golden import Golden, build_segmentor, tokens_of


def _text(golden: Golden, vocabulary: Vocabulary) -> Tensor:
    """Vectors (rows, D) through the public text encoder."""
    templates, prompts = golden.constructor['templates'], golden.constructor['prompts']
    vectors = golden.inputs['prompt_text']

    def tokenize(texts: list[str]) -> Tensor:
        """The place of each prompt; the authors put an article before some names."""
        parts = (text.split(':') for text in texts)
        places = []
        for template, name in parts:
            article = 'an' if name[0] in 'aeiou' else 'a'
            prompt = templates[int(template)].format(name, article=article)
            # the encoder also asks about shortened names
            known = prompt in prompts
            places.append([prompts.index(prompt) if known else len(prompts), 0])
        return torch.tensor(places)

    given = GivenPrompts(vectors[:, None])
    forms = [f'{i}:{{}}' for i in range(len(templates))]
    encoder = TowerTextEncoder(
        given, tokenize, vectors.shape[1], forms, template_average='synonyms'
    )
    return encoder.eval()(vocabulary)


def run_pixelclip(golden: Golden) -> dict[str, Tensor]:
    """Text, the stretched image, dense features and scores."""
    constructor = golden.constructor
    vocabulary = Vocabulary.build(constructor['names'])
    text, side = _text(golden, vocabulary), constructor['clip_resolution']
    firsts = torch.tensor([vocabulary.row_to_class.tolist().index(i) for i in range(4)])
    width = text.shape[1]
    model = build_segmentor(
        list(vocabulary.rows),
        text,
        dict(
            type='PixelCLIPHead',
            in_channels=width,
            text_channels=width,
            feature_size=constructor['feature_size'],
        ),
        dict(
            mode='whole',
            input_size=(side, side),
            input_antialias=False,
            resize_once=True,
        ),
        vocabulary=vocabulary,
        data_preprocessor=dict(
            type='OpenVocabDataPreProcessor',
            mean=constructor['mean'],
            std=constructor['std'],
        ),
    )
    model.backbone = tower(golden, last_block='catseg', load=False, position_offset=0.0)
    model.load_state_dict(complete_state(model, golden.weights, golden.path.name))
    seen = {}
    model.backbone.register_forward_hook(
        lambda module, args, maps: seen.update(image=args[0], dense=maps[0])
    )
    sample = SegDataSample(metainfo=dict(ori_shape=constructor['original_size']))
    data = dict(inputs=[golden.inputs['picture']], data_samples=[sample])
    (sample,) = model.test_step(data)
    height, columns = seen['dense'].shape[-2:]
    return {
        'text': text[firsts],
        'stretched': seen['image'],
        'dense': tokens_of(seen['dense']).unflatten(1, (height, columns)),
        'sem_seg': sample.seg_logits.data,
    }
