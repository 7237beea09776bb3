"""First stage: which words of the captions are nouns, by NLTK."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Protocol

from mmseg_ovs.datasets import COCOCaptionsDataset
from mmseg_ovs.jobs import digest

from .errors import PseudoMaskError
from .shards import WHOLE, Item, Part, describe_shard, write_shard

TAGS = 'tags'
TAGGER_NAME = 'averaged_perceptron_tagger_eng'
_SENTENCE_END = re.compile(r'(?<=[.!?;])\s+')
_NO_NLTK = (
    "reading nouns needs NLTK: pip install 'mmseg_ovs[pseudo_masks]', or pip install "
    'nltk'
)


class Tagger(Protocol):
    """A part-of-speech tagger as NLTK has them, with the Penn Treebank's tags."""

    def tag(self, tokens: list[str]) -> list[tuple[str, str]]:
        """Words with their tags."""

    def encode_json_obj(self) -> Any:
        """All that its answers depend on."""


def load_tagger(folder: str | os.PathLike | None = None) -> Tagger:
    """NLTK's averaged perceptron tagger; its data are JSON, never pickles.

    Args:
        folder: Folder of ``averaged_perceptron_tagger_eng.{weights,tagdict,
            classes}.json``. None: where NLTK looks (``NLTK_DATA``).

    Raises:
        PseudoMaskError: NLTK or its data are missing, or the data are damaged.
    """
    try:
        from nltk.tag.perceptron import PerceptronTagger
    except ImportError as error:
        raise PseudoMaskError(_NO_NLTK) from error
    if folder is None:
        try:
            return PerceptronTagger()
        except LookupError as error:
            raise PseudoMaskError(
                f'NLTK does not find its tagger. Fetch it where there is a network: '
                f'python -m nltk.downloader -d FOLDER {TAGGER_NAME}; then give '
                f'--tagger FOLDER/taggers/{TAGGER_NAME}, or set NLTK_DATA=FOLDER'
            ) from error
    parts = []
    # Read here: NLTK 3.10 opens files in its own data folders only.
    for name in ('weights', 'tagdict', 'classes'):
        path = Path(folder).expanduser() / f'{TAGGER_NAME}.{name}.json'
        try:
            parts.append(json.loads(path.read_text(encoding='utf-8')))
        except FileNotFoundError as error:
            raise PseudoMaskError(
                f'{path} is missing: the folder of a tagger holds {TAGGER_NAME}.'
                '{weights,tagdict,classes}.json (unzip what NLTK publishes)'
            ) from error
        except (OSError, ValueError) as error:
            raise PseudoMaskError(f'{path} cannot be read: {error}') from error
    if [type(part) for part in parts] != [dict, dict, list] or not parts[2]:
        raise PseudoMaskError(f'{folder} holds no tagger that NLTK has saved')
    return PerceptronTagger.decode_json_obj(parts)


def tag_words(caption: str, tagger: Tagger) -> list[tuple[str, str]]:
    """Words of a caption in lower case, each with its tag.

    Capitals are given up, because captions are careless with them and a capital makes a
    proper noun of any word.
    """
    from nltk.tokenize import NLTKWordTokenizer  # optional

    words = []
    # Captions have a sentence or two, so that NLTK's Punkt model is not needed.
    for sentence in _SENTENCE_END.split(caption.lower()):
        words += tagger.tag(NLTKWordTokenizer().tokenize(sentence))
    return words


def read_captions(captions: str | os.PathLike, images: str | os.PathLike) -> list[Item]:
    """Images that have captions, in the file's order.

    Args:
        captions: File in COCO's caption format.
        images: Folder of its images.

    Raises:
        FileNotFoundError: The file or an image that it names is missing.
        PseudoMaskError: The file is not in this format, has no captions, an empty one,
            or one of an image that it does not list.
    """
    images = os.fspath(images)
    try:
        dataset = COCOCaptionsDataset(
            ann_file=os.fspath(captions),
            data_prefix=dict(img_path=images),
            pairing='image',
            serialize_data=False,
        )
    except ValueError as error:
        raise PseudoMaskError(str(error)) from error
    return [
        Item(
            image_id=record['image_id'],
            file_name=os.path.relpath(record['img_path'], images),
            payload=dict(captions=record['captions']),
        )
        for record in dataset.data_list
    ]


def tag_captions(
    items: list[Item], tagger: Tagger, out: Path, part: Part = WHOLE
) -> Path:
    """Write the tagged words of every image's captions.

    A record holds ``captions`` and ``words``, pairs of a word and its tag, each pair
    once.

    Args:
        items: All images, see :func:`read_captions`.
        tagger: See :func:`load_tagger`.
        out: Folder of the whole run.
        part: The part of the images to do.

    Returns:
        The shard.
    """
    setting = dict(
        captions=digest([[i.image_id, i.file_name, i.payload] for i in items]),
        tagger=digest(_ordered(tagger.encode_json_obj())),
    )

    def make(item: Item) -> dict:
        captions = item.payload['captions']
        words = {pair for text in captions for pair in tag_words(text, tagger)}
        return dict(captions=captions, words=sorted(words))

    own = part.of(items)
    facts = describe_shard(TAGS, part, len(own), setting)
    return write_shard(out / TAGS, facts, own, make)


def _ordered(content: Any) -> list:
    """A tagger's content without the chance order of its set of classes."""
    weights, words, classes = content
    return [weights, words, sorted(classes)]
