"""Second stage: which nouns are looked for, and in which images.

Appendix A of OVS-DINO filters "infrequent, incomplete, or redundant entries" and says
no more. Our reading: a word is *incomplete* unless it is made of letters (and hyphens
between them), two at least; it is *redundant* as the plural of another, if it is on a
list of words that name no region, or if the tagger takes it for something else than a
noun in most images (*blue*, *standing*); it is *infrequent* if it is a noun of fewer
than ``min_images`` images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmseg_ovs.jobs import canonical, digest, read_json
from mmseg_ovs.utils import remove_leftovers, write_whole

from .errors import PseudoMaskError
from .lemmas import singular
from .shards import FORMAT, open_stage
from .stop_words import STOP_WORDS
from .tagging import TAGS

NOUNS = 'nouns.json'
NOUN_TAGS = ('NN', 'NNS')
REASONS = ('incomplete', 'stop', 'other', 'rare')


def filter_nouns(
    out: Path, min_images: int = 10, stop_words: Collection[str] = STOP_WORDS
) -> Path:
    """Write ``nouns.json``: the nouns, the images with theirs, and what was dropped.

    Args:
        out: Folder of the whole run, with the shards of the first stage.
        min_images: Images whose captions must have a noun.
        stop_words: Nouns to drop, as singulars.

    Returns:
        The file.

    Raises:
        PseudoMaskError: A shard is missing, damaged or of another setting, or no noun
            is left.
    """
    setting, records = open_stage(out / TAGS, TAGS)
    records = list(records)
    tags = Counter((word, tag) for record in records for word, tag in record['words'])
    nouns = {word for word, tag in tags if tag in NOUN_TAGS}
    lemmas = _lemmas(nouns, tags)
    images = [
        dict(
            id=record['image_id'],
            file_name=record['file_name'],
            captions=record['captions'],
            nouns=sorted({lemmas[w] for w, tag in record['words'] if tag in NOUN_TAGS}),
        )
        for record in records
    ]
    counts = Counter(noun for image in images for noun in image['nouns'])
    others = Counter()
    for (word, tag), count in tags.items():
        if tag not in NOUN_TAGS:
            others[lemmas.get(word, word)] += count
    names, dropped = _choose(counts, others, min_images, stop_words)
    if not names:
        raise PseudoMaskError(
            f'none of {len(counts)} nouns is left, '
            f'{len(dropped["rare"])} occur in fewer than {min_images} images: lower '
            '--min-images'
        )
    number = {name: k for k, name in enumerate(names, 1)}
    for image in images:
        image['nouns'] = [number[noun] for noun in image['nouns'] if noun in number]
    content = dict(
        format=FORMAT,
        setting=dict(
            setting, min_images=min_images, stop_words=digest(sorted(stop_words))
        ),
        words=len(nouns),
        nouns=[dict(id=number[n], name=n, images=counts[n]) for n in names],
        dropped=dropped,
        images=images,
    )
    remove_leftovers(out, Path(NOUNS).stem)
    write_whole(out / NOUNS, canonical(content) + '\n')
    return out / NOUNS


def _choose(
    counts: Mapping[str, int],
    others: Mapping[str, int],
    min_images: int,
    stop_words: Collection[str],
) -> tuple[list[str], dict[str, dict[str, int]]]:
    """Nouns to keep, and those that are dropped with their images by reason.

    Args:
        counts: Images of each noun.
        others: Images in which the same word is something else.
        min_images: See :func:`filter_nouns`.
        stop_words: See :func:`filter_nouns`.
    """
    dropped: dict[str, dict[str, int]] = {reason: {} for reason in REASONS}
    names = []
    for noun, count in sorted(counts.items()):
        if not is_complete(noun):
            reason = 'incomplete'
        elif noun in stop_words:
            reason = 'stop'
        elif others[noun] > count:
            reason = 'other'
        else:
            reason = 'rare' if count < min_images else None
        if reason:
            dropped[reason][noun] = count
        else:
            names.append(noun)
    return names, dropped


def read_nouns(out: Path) -> dict[str, Any]:
    """The content of ``nouns.json``.

    Raises:
        JobError: It is missing or damaged.
    """
    path = out / NOUNS
    content = read_json(path, ['format'])
    if content is None:
        raise PseudoMaskError(f'there is no {path}: run the filter stage first')
    if content['format'] != FORMAT:
        raise PseudoMaskError(f'{path} is not of {FORMAT!r}: filter again')
    return content


def is_complete(noun: str) -> bool:
    """Whether a noun is made of letters, two at least, and hyphens between them."""
    return len(noun) > 1 and all(part.isalpha() for part in noun.split('-'))


def _lemmas(
    nouns: Collection[str], tags: Mapping[tuple[str, str], int]
) -> dict[str, str]:
    """Noun to singular.

    A noun is a plural if it is tagged so in most images, or if its singular is the
    more frequent of the two (taggers often miss the plurals of rare words).
    """
    once = {noun: tags.get((noun, 'NN'), 0) for noun in nouns}
    lemmas = {}
    for noun in nouns:
        lemma = singular(noun, once)
        many = tags.get((noun, 'NNS'), 0)
        plural = many > once[noun] or once.get(lemma, 0) > once[noun]
        lemmas[noun] = lemma if plural else noun
    return lemmas
