"""Prompt templates: the named sets of the field, or one's own list."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from mmseg.utils import get_predefined_templates

# CLIP's notebook calls these seven the subset that does almost as well as all eighty;
# Talk2DINO encodes classes with them.
_IMAGENET_7 = (
    'itap of a {}.',
    'a bad photo of a {}.',
    'a origami {}.',
    'a photo of the large {}.',
    'a {} in a video game.',
    'art of the {}.',
    'a photo of the small {}.',
)
# CAT-Seg's published models use one template; its ablation uses eight.
_SINGLE = ('A photo of a {} in the scene',)
_IMAGENET_SELECT_8 = (
    _IMAGENET_7[0],
    'a bad photo of the {}.',
    *_IMAGENET_7[2:],
    *_SINGLE,
)

TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    'imagenet': tuple(get_predefined_templates('imagenet')),
    'vild': tuple(get_predefined_templates('vild')),
    'imagenet_7': _IMAGENET_7,
    'imagenet_select_8': _IMAGENET_SELECT_8,
    # TCL's, which its authors call custom; {}s is no slip
    'tcl_9': (*_IMAGENET_7, 'a photo of many {}.', 'a photo of {}s.'),
    'single': _SINGLE,
    'simple': ('a photo of a {}.',),
    'identity': ('{}',),
}


def get_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Resolve a named set, or check one's own list of templates.

    Args:
        templates: A key of :data:`TEMPLATE_SETS`, or strings with ``{}`` where the
            name goes.

    Raises:
        ValueError: If the set is unknown, the list empty or a template without ``{}``.
    """
    if isinstance(templates, str):
        if templates not in TEMPLATE_SETS:
            close = difflib.get_close_matches(templates, TEMPLATE_SETS, n=1, cutoff=0.5)
            hint = f' Did you mean {close[0]!r}?' if close else ''
            own = ' A template of your own is given as a list.' * ('{}' in templates)
            raise ValueError(
                f'Unknown template set {templates!r}.{hint} Known are '
                f'{", ".join(TEMPLATE_SETS)}.{own}'
            )
        return TEMPLATE_SETS[templates]
    if not isinstance(templates, Sequence) or not templates:
        raise ValueError(
            f'templates must be the name of a set or a list of strings with {{}}, not '
            f'{templates!r}.'
        )
    for template in templates:
        if not isinstance(template, str) or '{}' not in template:
            raise ValueError(
                f'The template {template!r} has no {{}}, where the class name goes.'
            )
    return tuple(templates)


def fill_templates(templates: Sequence[str], names: Sequence[str]) -> list[str]:
    """All prompts, name after name: N names and P templates give N * P prompts."""
    return [template.replace('{}', name) for name in names for template in templates]
