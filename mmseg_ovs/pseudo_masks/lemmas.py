"""Singulars of English nouns, without a dictionary.

The ending of a plural often leaves several singulars open (*cookies*: cooky, cookie).
Among them the one is taken that the captions themselves use most; if they use none,
the most regular one.
"""

from __future__ import annotations

from collections.abc import Mapping

_IRREGULAR = dict(
    children='child',
    feet='foot',
    geese='goose',
    mice='mouse',
    oxen='ox',
    people='person',
    teeth='tooth',
    calves='calf',
    halves='half',
    hooves='hoof',
    knives='knife',
    leaves='leaf',
    lives='life',
    loaves='loaf',
    scarves='scarf',
    shelves='shelf',
    thieves='thief',
    wives='wife',
    wolves='wolf',
    cookies='cookie',
    movies='movie',
    brownies='brownie',
    hoodies='hoodie',
    neckties='necktie',
    selfies='selfie',
    smoothies='smoothie',
    veggies='veggie',
    shoes='shoe',
    toes='toe',
    canoes='canoe',
    buses='bus',
    gases='gas',
    lenses='lens',
)
# Nouns that end as plurals do and have no singular, or one of another meaning.
_PLURAL_ONLY = """
    binoculars clothes eyeglasses glasses goggles headphones jeans overalls pajamas
    pants pliers scissors shorts sunglasses tights trousers tweezers
    bus gas lens canvas atlas series species
"""
_UNCHANGED = frozenset(_PLURAL_ONLY.split())


def singular(word: str, seen: Mapping[str, int]) -> str:
    """The singular of a plural in lower case; of any other word the word itself.

    Args:
        word: A plural noun.
        seen: How often words occur as singular nouns.
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _UNCHANGED:
        return word
    forms = _singular_forms(word)
    return max(forms, key=lambda form: seen.get(form, 0))  # the first of equals


def _singular_forms(word: str) -> list[str]:
    """Possible singulars, the most regular one first."""
    if word.endswith('men'):
        return [word[:-2] + 'an']
    if not word.endswith('s') or word.endswith(('ss', 'us', 'is')) or len(word) < 4:
        return [word]
    if word.endswith('ies') and len(word) > 4:
        return [word[:-3] + 'y', word[:-1]]
    if word.endswith('ves'):
        return [word[:-1], word[:-3] + 'f', word[:-3] + 'fe']
    if word.endswith(('sses', 'xes', 'ches', 'shes', 'zzes', 'oes')):
        return [word[:-2], word[:-1]]
    if word.endswith(('ses', 'zes')):
        return [word[:-1], word[:-2]]
    return [word[:-1]]
