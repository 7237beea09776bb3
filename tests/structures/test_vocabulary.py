"""Vocabularies: sources, synonyms, backgrounds, errors, and the reduction of scores."""

import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_ovs.structures import Vocabulary, VocabularyError
from mmseg_ovs.structures.vocabulary import MAX_CLASSES

CLASSES = {
    'ade20k_150': 150,
    'ade20k_847': 847,
    'camvid_11': 11,
    'cityscapes_19': 19,
    'clearclip_coco_object': 81,
    'clearclip_voc20': 20,
    'clearclip_voc21': 21,
    'clip_dinoiser_coco_object': 81,
    'clip_dinoiser_context59': 59,
    'clip_dinoiser_context60': 60,
    'clip_dinoiser_voc20': 20,
    'clip_dinoiser_voc21': 21,
    'coco_object_81': 81,
    'coco_stuff_171': 171,
    'corrclip_ade20k': 150,
    'corrclip_cityscapes': 19,
    'corrclip_coco_object': 81,
    'corrclip_coco_stuff': 171,
    'corrclip_context59': 59,
    'corrclip_context60': 60,
    'corrclip_voc20': 20,
    'corrclip_voc21': 21,
    'groupvit_context60': 60,
    'groupvit_voc21': 21,
    'pascal_context_459': 459,
    'pascal_context_59': 59,
    'pascal_context_59_catseg': 59,
    'pascal_context_60': 60,
    'proxyclip_coco_object': 81,
    'proxyclip_voc20': 20,
    'proxyclip_voc21': 21,
    'sclip_ade20k': 150,
    'sclip_cityscapes': 19,
    'sclip_coco_object': 81,
    'sclip_coco_stuff': 171,
    'sclip_context59': 59,
    'sclip_context60': 60,
    'sclip_voc20': 20,
    'sclip_voc21': 21,
    'sfp_cityscapes': 19,
    'sfp_voc20': 20,
    'sfp_voc21': 21,
    'voc_20': 20,
    'voc_20b_catseg': 21,
    'voc_21': 21,
}
THRESHOLD = dict(type='threshold', value=0.55)

names = st.text('abcdefg ', min_size=1, max_size=6).map(str.strip).filter(bool)
entries = st.lists(names, min_size=1, max_size=4, unique=True)


@st.composite
def vocabularies(draw):
    """Any vocabulary: synonyms, and perhaps a background of either kind."""
    rows = draw(st.lists(entries, min_size=1, max_size=8, unique_by=lambda e: e[0]))
    background = draw(
        st.sampled_from([None, THRESHOLD, dict(type='names', names=['sky', 'wall'])])
    )
    if background:
        background = dict(background, label=draw(st.integers(0, len(rows))))
    return Vocabulary.build(dict(source=rows, background=background))


# --------------------------------------------------------------------- sources
def test_list_with_synonyms():
    vocabulary = Vocabulary.build(['wall ', 'building, edifice', ['car', 'a, b']])
    assert vocabulary.classes == ('wall', 'building, edifice', 'car')
    assert vocabulary.synonyms == (('wall',), ('building', 'edifice'), ('car', 'a, b'))
    assert vocabulary.rows == ('wall', 'building', 'edifice', 'car', 'a, b')
    assert vocabulary.row_to_class.tolist() == [0, 1, 1, 2, 2]
    assert vocabulary.num_classes == 3
    assert Vocabulary.build(vocabulary) is vocabulary


def test_first_synonym_but_all_names_of_the_background():
    source = ['building, edifice', 'car']
    vocabulary = Vocabulary.build(dict(source=source, synonyms='first'))
    assert vocabulary.rows == ('building', 'car')
    assert vocabulary.classes == ('building, edifice', 'car')
    vocabulary = Vocabulary.build(dict(source='sclip_voc21', synonyms='first'))
    assert len(vocabulary.synonyms[0]) == 26
    assert all(len(names) == 1 for names in vocabulary.synonyms[1:])


def test_metainfo_of_a_dataset():
    vocabulary = Vocabulary.from_metainfo(dict(classes=('bed ', 'wall'), palette=None))
    assert vocabulary.classes == ('bed', 'wall')
    with pytest.raises(VocabularyError, match='no classes'):
        Vocabulary.from_metainfo({})


def test_text_and_json_files(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('sky\nperson,person in shirt\n\n')
    vocabulary = Vocabulary.build(str(path))
    assert vocabulary.synonyms == (('sky',), ('person', 'person in shirt'))
    assert Vocabulary.build(path) == vocabulary
    path.write_text('sky\n\nroad\n')
    with pytest.raises(VocabularyError, match=r'classes\.txt.*position 1 is blank'):
        Vocabulary.build(path)
    path = tmp_path / 'classes.json'
    path.write_text(json.dumps(['sky', ['car', 'auto']]))
    assert Vocabulary.build(str(path)).rows == ('sky', 'car', 'auto')


@pytest.mark.parametrize('name', CLASSES)
def test_named_vocabulary(name):
    vocabulary = Vocabulary.build(name)
    assert vocabulary.num_classes == CLASSES[name]
    assert all(row == row.strip() for row in vocabulary.rows)


def test_every_named_vocabulary_is_listed_with_its_provenance():
    from mmseg_ovs.structures.vocabulary import _NAMED_DIR

    assert set(Vocabulary.named()) == set(CLASSES)
    for name in Vocabulary.named():
        data = json.loads((_NAMED_DIR / f'{name}.json').read_text())
        assert data['name'] == name and data['source'] and data['licence']
        assert f'`{name}`' in (_NAMED_DIR / 'README.md').read_text()


def test_named_vocabularies_of_mmseg_are_mmsegs():
    from mmseg.datasets import ADE20KDataset, CityscapesDataset, COCOStuffDataset

    for name, dataset in [
        ('ade20k_150', ADE20KDataset),
        ('cityscapes_19', CityscapesDataset),
        ('coco_stuff_171', COCOStuffDataset),
    ]:
        expected = Vocabulary.from_metainfo(dataset.METAINFO)
        assert Vocabulary.build(name) == expected


# The classes whose names differ from those of SCLIP's list, and the new names.
_THINGS = ('sky', 'wall', 'tree', 'wood', 'grass', 'road', 'sea', 'river', 'mountain')
_THINGS += ('sands', 'desk', 'bed', 'building', 'cloud', 'floor', 'hill', 'rail')
_CLOTHES = ('shirt', 'jeans', 'dress', 'sweater', 'skirt', 'jacket')
_PEOPLE = ('people', *(f'people in {name}' for name in _CLOTHES))
_PLAIN = {'person': ('person',), 'tvmonitor': ('tvmonitor',)}
_WORD = {'background': ('background',)}
DIFFERENCES = {
    'proxyclip_voc20': _PLAIN,
    'proxyclip_voc21': _PLAIN,
    'proxyclip_coco_object': {'background': _THINGS, 'person': ('person',)},
    'clearclip_voc20': _PLAIN,
    'clearclip_voc21': _PLAIN | _WORD,
    'clearclip_coco_object': {'person': ('person',)} | _WORD,
    'corrclip_voc20': _PLAIN | {'person': ('people',)},
    'corrclip_voc21': _PLAIN | {'person': ('people',)},
    'corrclip_context59': {'person': ('people',)},
    'corrclip_context60': {'person': ('people',)},
    'corrclip_coco_object': {
        'background': tuple(name for name in _THINGS if name != 'bed'),
        'person': ('people',),
    },
    'corrclip_coco_stuff': {'person': ('people',)},
    'corrclip_cityscapes': {'person': ('people',)},
    'corrclip_ade20k': {'person': ('people',)},
    'sfp_voc20': {'person': _PEOPLE},
    'sfp_voc21': {'person': _PEOPLE},
    'sfp_cityscapes': {'person': ('people',)},
}


@pytest.mark.parametrize('name', DIFFERENCES)
def test_lists_of_methods_that_build_on_sclip(name):
    vocabulary = Vocabulary.build(name)
    sclip = Vocabulary.build(f'sclip_{name.partition("_")[2]}')
    assert vocabulary.classes == sclip.classes
    assert vocabulary.background_label == sclip.background_label
    pairs = zip(vocabulary.synonyms, sclip.synonyms, strict=True)
    assert DIFFERENCES[name] == {
        vocabulary.classes[label]: new
        for label, (new, old) in enumerate(pairs)
        if new != old
    }


def test_lists_of_methods_show_the_classes_of_the_data_sets():
    import mmseg.datasets as theirs

    import mmseg_ovs.datasets as ours

    datasets = {
        'ade20k': theirs.ADE20KDataset,
        'cityscapes': theirs.CityscapesDataset,
        'coco_object': ours.COCOObjectDataset,
        'coco_stuff': theirs.COCOStuffDataset,
        'context59': theirs.PascalContextDataset59,
        'context60': theirs.PascalContextDataset,
        'voc20': ours.PascalVOC20Dataset,
        'voc21': theirs.PascalVOCDataset,
    }
    methods = ('sclip_', 'proxyclip_', 'clearclip_', 'corrclip_', 'sfp_')
    for name in Vocabulary.named():
        if name.startswith(methods):
            dataset = datasets[name.partition('_')[2]]
            expected = Vocabulary.from_metainfo(dataset.METAINFO).classes
            assert Vocabulary.build(name).classes == expected, name


# ------------------------------------------------------------------ background
def test_backgrounds_of_shipped_vocabularies():
    vocabulary = Vocabulary.build('voc_20b_catseg')
    assert vocabulary.background_label == 20 and vocabulary.background_score is None
    assert len(vocabulary.synonyms[20]) == 39
    vocabulary = Vocabulary.build(dict(source='voc_21', background=THRESHOLD))
    assert vocabulary.num_classes == 21
    assert (vocabulary.background_label, vocabulary.background_score) == (0, 0.55)
    assert vocabulary.synonyms[0] == () and len(vocabulary.rows) == 20


@pytest.mark.parametrize('label', [None, 0, 1, 2])
def test_background_is_inserted_where_the_source_has_none(label):
    where = {} if label is None else dict(label=label)
    vocabulary = Vocabulary.build(
        dict(source=['a', 'b'], background=dict(THRESHOLD, **where))
    )
    assert vocabulary.background_label == (label or 0)
    assert vocabulary.classes[vocabulary.background_label] == 'background'
    assert vocabulary.rows == ('a', 'b')


def test_background_by_names_and_by_class():
    by_names = Vocabulary.build(
        dict(source='voc_21', background=dict(type='names', names=['sky', 'wall']))
    )
    assert by_names.synonyms[0] == ('sky', 'wall') and by_names.background_label == 0
    by_class = Vocabulary.build(
        dict(source=['road', 'other'], background=dict(type='class', name='other'))
    )
    assert by_class.background_label == 1 and by_class.rows == ('road', 'other')


@pytest.mark.parametrize(
    ('background', 'message'),
    [
        (dict(THRESHOLD, label=3), 'label 3 is out of range.*at 0 to 2'),
        (dict(THRESHOLD, label=-1), 'label -1 is out of range'),
        (dict(THRESHOLD, label='0'), "label '0' is out of range"),
        (dict(THRESHOLD, name='b', label=0), "class 1 is called 'b'"),
        (dict(type='threshold'), "needs the key 'value'"),
        (dict(type='threshold', value='high'), 'finite number'),
        (dict(type='threshold', value=float('nan')), 'finite number'),
        (dict(type='names', names='sky'), "'names' must be a list"),
        (dict(type='names', names=[]), 'no synonym'),
        (dict(type='class'), "No class is called 'background'"),
        (dict(type='none'), "type 'threshold', 'names' or 'class'"),
        ('threshold', "type 'threshold', 'names' or 'class'"),
        (dict(THRESHOLD, lable=1), "Unknown key 'lable'"),
    ],
)
def test_bad_background(background, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.build(dict(source=['a', 'b'], background=background))
    with pytest.raises(VocabularyError, match='background label 2 is out of range'):
        Vocabulary(('a', 'b'), (('a',), ('b',)), background_label=2)


# ---------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ([], 'empty'),
        (['a', 'b', 'a '], "'a' appears twice, at positions 0 and 2"),
        (['a', 'b, b'], "class 1.*'b' appears twice"),
        (['a', 3], 'Class 1 must be a string.*3'),
        (['a', ['b', 3]], 'position 1 must be a string, not int 3'),
        (['a', None], 'Class 1 must be a string.*None'),
        (['a', []], 'Class 1 must be'),
        (['a', ' '], 'class at position 1 is blank'),
        (['a', 'b,'], 'is blank'),
        (7, 'Cannot make a vocabulary from int'),
        (None, 'Cannot make a vocabulary from NoneType'),
        ('voc20', r"Unknown vocabulary 'voc20'. Did you mean 'voc_20'.*cityscapes_19"),
        ('nowhere/classes.json', 'Cannot read.*No such file'),
        (dict(synonyms='all'), "needs the key 'source'"),
        (dict(source=['a'], synonym='first'), "Unknown key 'synonym'"),
        (dict(source=['a'], synonyms='last'), "'all' or 'first'"),
        (dict(classes=['a', 'b'], synonyms=[['a']]), '2 classes but synonyms for 1'),
        (dict(classes=['a'], prompts=['a']), "'synonyms' of class 0 must be a list"),
        (dict(classes=['a'], threshold=0.5), 'score needs the background label'),
        (
            dict(classes=['a'], background=0, background_label=0),
            "'background' is the older name of 'background_label': give one",
        ),
        (dict(classes='a'), "'classes' must be a list"),
        (dict(classes=['a'], synonyms=[[]]), "Class 0 .'a'. has no synonym"),
    ],
)
def test_bad_source(source, message):
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.build(source)


@pytest.mark.parametrize('text', ['{"a": 1}', '3', '["a"', '["a", "a"]', '[]'])
def test_bad_json_file_is_named(tmp_path, text):
    path = tmp_path / 'bad.json'
    path.write_text(text)
    with pytest.raises(VocabularyError, match=r'bad\.json'):
        Vocabulary.build(path)


def test_more_classes_than_labels():
    assert Vocabulary.build([str(i) for i in range(MAX_CLASSES)]).num_classes == 65535
    with pytest.raises(VocabularyError, match='65536 classes are more than the 65535'):
        Vocabulary.build([str(i) for i in range(MAX_CLASSES + 1)])


# ------------------------------------------------------------------ identities
@given(vocabularies())
def test_json_round_trip(tmp_path_factory, vocabulary):
    path = tmp_path_factory.mktemp('vocabulary') / 'v.json'
    vocabulary.to_json(path)
    again = Vocabulary.build(path)
    assert again == vocabulary and hash(again) == hash(vocabulary)
    assert again.fingerprint() == vocabulary.fingerprint()
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert Vocabulary.build(vocabulary.to_dict()) == vocabulary


def test_files_with_the_older_names_of_keys():
    old = dict(classes=['none', 'a'], prompts=[[], ['b']], background=0, threshold=0.5)
    new = Vocabulary(('none', 'a'), ((), ('b',)), 0, 0.5)
    assert Vocabulary.build(old) == new
    assert set(new.to_dict()) == {
        *('classes', 'synonyms', 'background_label', 'background_score')
    }


def test_fingerprint_tells_vocabularies_apart():
    base = Vocabulary.build(['a', 'b'])
    others = [
        Vocabulary.build(['b', 'a']),
        Vocabulary.build(['a', 'b, c']),
        Vocabulary.build(dict(source=['a', 'b'], background=THRESHOLD)),
        Vocabulary.build(dict(source=['a', 'b'], background=dict(THRESHOLD, value=1))),
    ]
    assert len({v.fingerprint() for v in [base, *others]}) == 5
    # Fixed values: protocols that store them must find them unchanged.
    assert base.fingerprint() == '0d7582e4a14d4adf'
    assert Vocabulary.build('sclip_voc21').fingerprint() == '0388b72822fddeb9'


# ---------------------------------------------------------------------- scores
def reduce_plainly(vocabulary, scores):
    """The definition, one class at a time."""
    planes = []
    for label in range(vocabulary.num_classes):
        if label == vocabulary.background_label and not vocabulary.synonyms[label]:
            planes.append(torch.full_like(scores[:, 0], vocabulary.background_score))
        else:
            rows = (vocabulary.row_to_class == label).nonzero().flatten()
            planes.append(scores[:, rows].max(dim=1).values)
    return torch.stack(planes, dim=1)


@given(vocabularies())
def test_reduce_is_the_maximum_over_synonyms(vocabulary):
    scores = torch.randn(2, len(vocabulary.rows), 3, 2)
    reduced = vocabulary.reduce(scores)
    assert reduced.equal(reduce_plainly(vocabulary, scores))


def test_reduce_keeps_memory_dtype_and_gradient():
    scores = torch.randn(1, 2, 3, 3)
    assert Vocabulary.build(['a', 'b']).reduce(scores) is scores
    vocabulary = Vocabulary.build(dict(source=['a, b', 'c'], background=THRESHOLD))
    assert vocabulary.reduce(torch.rand(1, 3, 1, 1).half()).dtype == torch.float16
    scores = torch.tensor([0.1, 0.9, 0.4]).view(1, 3, 1, 1).requires_grad_()
    vocabulary.reduce(scores).sum().backward()
    assert scores.grad.flatten().tolist() == [0, 1, 1]


def test_reduce_refuses_a_wrong_number_of_rows():
    with pytest.raises(ValueError, match='4 rows were given.*2 classes have 3 rows'):
        Vocabulary.build(['a, b', 'c']).reduce(torch.rand(1, 4, 1, 1))
