"""Named template sets, own lists, and what is wrong with others."""

import open_clip
import pytest

from mmseg_ovs.models.text_encoders import TEMPLATE_SETS, get_templates
from mmseg_ovs.models.text_encoders.templates import fill_templates


def test_sizes_of_the_sets():
    sizes = {name: len(templates) for name, templates in TEMPLATE_SETS.items()}
    assert sizes == {
        'imagenet': 80,
        'vild': 14,
        'imagenet_7': 7,
        'imagenet_select_8': 8,
        'tcl_9': 9,
        'single': 1,
        'simple': 1,
        'identity': 1,
    }
    assert all(get_templates(name) == TEMPLATE_SETS[name] for name in TEMPLATE_SETS)


def test_imagenet_is_clips_set():
    published = {template('{}') for template in open_clip.OPENAI_IMAGENET_TEMPLATES}
    assert set(get_templates('imagenet')) == published
    # Talk2DINO's seven are all CLIP's.
    assert set(get_templates('imagenet_7')) <= published


def test_prompts_are_name_after_name():
    prompts = fill_templates(get_templates(['a {}.', '{} and {}']), ['cat', '{x}'])
    assert prompts == ['a cat.', 'cat and cat', 'a {x}.', '{x} and {x}']


@pytest.mark.parametrize(
    ('templates', 'message'),
    [
        ('imagnet', "Unknown template set 'imagnet'. Did you mean 'imagenet'.*vild"),
        ('a photo of a {}.', 'of your own is given as a list'),
        ([], 'name of a set or a list'),
        (None, 'name of a set or a list'),
        (['a {}', 'a photo'], "'a photo' has no {}"),
        ([3], 'has no {}'),
    ],
)
def test_bad_templates(templates, message):
    with pytest.raises(ValueError, match=message):
        get_templates(templates)
