"""Which of COCO's classes a noun of a caption names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# Singular nouns besides the names of the classes themselves. Some name only a part of
# the class (a man is a person): masks of those can be precise, but not complete.
_WORDS = {
    'person': 'man woman boy girl child kid baby lady guy people gentleman toddler '
    'player skateboarder skier snowboarder surfer rider pedestrian',
    'bicycle': 'bike',
    'motorcycle': 'motorbike',
    'car': 'automobile taxi cab',
    'airplane': 'plane aeroplane jet airliner',
    'bus': 'minibus',
    'boat': 'ship canoe kayak sailboat',
    'fire hydrant': 'hydrant',
    'cat': 'kitten',
    'dog': 'puppy',
    'horse': 'pony',
    'sheep': 'lamb',
    'cow': 'bull calf cattle',
    'backpack': 'rucksack',
    'handbag': 'purse',
    'tie': 'necktie',
    'suitcase': 'luggage',
    'skis': 'ski',
    'sports ball': 'ball',
    'baseball bat': 'bat',
    'baseball glove': 'glove mitt',
    'tennis racket': 'racket racquet',
    'wine glass': 'wineglass',
    'donut': 'doughnut',
    'couch': 'sofa',
    'potted plant': 'plant',
    'dining table': 'table',
    'tv': 'television',
    'cell phone': 'phone cellphone smartphone',
    'refrigerator': 'fridge',
    'scissors': 'scissor',
    'teddy bear': 'teddy',
    'clouds': 'cloud',
    'leaves': 'leaf',
    'playingfield': 'court',
    'railroad': 'track',
    'road': 'street',
    'pavement': 'sidewalk',
    'sea': 'ocean',
    'stairs': 'stair staircase',
    'water-other': 'water',
}
WORDS = {word: name for name, words in _WORDS.items() for word in words.split()}


def classes_of(
    nouns: Iterable[str],
    names: Sequence[str],
    own: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """Classes that nouns name; nouns that name none are left out.

    A noun names the class of its name, that of which it is a synonym, and the kinds of
    stuff that begin with it ('wall' is 'wall-brick', 'wall-wood', ...).

    Args:
        nouns: Nouns in the singular.
        names: Names of the classes.
        own: Classes of some nouns, in place of these rules; none, to leave one out.

    Raises:
        ValueError: A noun of ``own`` names a class that there is not.
    """
    own = own or {}
    for noun, classes in own.items():
        if unknown := sorted(set(classes) - set(names)):
            raise ValueError(f'{noun!r} cannot be of {unknown}: there is no such class')
    matched = {}
    for noun in nouns:
        found = own.get(noun)
        if found is None:
            found = [
                name
                for name in names
                if name in (noun, WORDS.get(noun)) or name.startswith(f'{noun}-')
            ]
        if found:
            matched[noun] = list(found)
    return matched
