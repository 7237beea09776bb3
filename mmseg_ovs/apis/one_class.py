"""What to tell about a vocabulary of one class."""

from __future__ import annotations

from mmseg_ovs.structures import Vocabulary

_COMMAS = ',，、'  # also those of Chinese and Japanese


def one_class_hint(vocabulary: Vocabulary) -> str:
    """That every pixel gets the only class, and what to do; '' for several classes.

    A background with a score is a class.
    """
    if vocabulary.num_classes > 1:
        return ''
    advice = 'Give more classes, or a background score'
    if set(_COMMAS) & set(vocabulary.classes[0]):
        advice = (
            'Commas do not separate classes: give each as a word, line or list entry '
            'of its own'
        )
    return f'One class: every pixel gets it. {advice}'
