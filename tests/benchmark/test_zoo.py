"""Metafiles that lack something are told so."""

import copy
import re

import pytest

from mmseg_ovs.benchmark.zoo import Model, Zoo, missing_facts, readme_figures
from tools.dev.model_zoo import zoo_page

COLLECTION = {
    'Name': 'A',
    'Metadata': {'Method Class': 'training-free'},
    'Paper': {'Title': 'T', 'URL': 'U'},
    'README': 'configs/a/README.md',
}
ENTRY = {
    'Name': 'a_one',
    'In Collection': 'A',
    'Config': 'configs/a/a_one.py',
    'Metadata': {'Weights Licence': 'MIT', 'Gated': True},
    'Results': [
        {
            'Task': 'T',
            'Dataset': 'VOC21',
            'Metrics': {'mIoU': 60.0},
            'Origin': 'published',
            'Source': 'Table 1',
        }
    ],
}


def zoo_of(collection, entry):
    return Zoo({'A': collection}, {entry['Name']: Model(entry, collection)})


def test_nothing_is_missing():
    assert missing_facts(zoo_of(COLLECTION, ENTRY), 'A') == []


@pytest.mark.parametrize(
    ('path', 'value', 'told'),
    [
        (('Metadata', 'Gated'), 'no', 'a_one: .*Gated'),
        (('Metadata', 'Weights Licence'), '', 'a_one: .*Weights Licence'),
        (('Results', 0, 'Dataset'), 'VOC', "a_one: result on 'VOC'"),
        (('Results', 0, 'Origin'), None, 'a_one: .*Origin'),
        (('Results', 0, 'Source'), None, 'a_one: .*Source'),
        (('Results', 0, 'Metrics'), {'mIoU': '60'}, 'a_one: .*mIoU'),
    ],
)
def test_what_is_missing_is_told(path, value, told):
    entry = copy.deepcopy(ENTRY)
    target = entry
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    (line,) = missing_facts(zoo_of(COLLECTION, entry), 'A')
    assert re.search(told, line)


def test_the_class_of_the_method_is_asked_for():
    collection = {**COLLECTION, 'Metadata': {}}
    (line,) = missing_facts(zoo_of(collection, ENTRY), 'A')
    assert "'Method Class'" in line


def test_page_marks_what_is_measured():
    entry = copy.deepcopy(ENTRY)
    assert '| `a_one` | MIT (gated) | 60.0 | 1 |' in zoo_page(zoo_of(COLLECTION, entry))
    measured = dict(entry['Results'][0], Origin='measured', Metrics={'mIoU': 59.1})
    entry['Results'].append(measured)
    assert '| **59.1** (60.0) |' in zoo_page(zoo_of(COLLECTION, entry))


def test_figures_of_a_readme():
    text = """
| | VOC21 | C60 | ADE | Avg |
|---|---|---|---|---|
| **one** | 1.5 | – | 2 | 9 |

| part | a | b |
|---|---|---|
| two | 1.5 | 3 |
"""
    assert readme_figures(text) == {'one': {'VOC21': 1.5, 'ADE20K': 2.0}}
