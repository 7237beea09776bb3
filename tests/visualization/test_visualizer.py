"""Sheets: what is drawn, where, for any vocabulary, and through mmseg's hook."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_ovs.visualization import OpenVocabVisualizer, fonts, make_palette
from mmseg_ovs.visualization.fonts import fit_font
from mmseg_ovs.visualization.overlay import draw_overlay, shorten, write_names
from mmseg_ovs.visualization.sheet import LegendEntry, compose_sheet

GREY = np.full((400, 400, 3), 100, np.uint8)


def make_sample(pred=None, label=None):
    sample = SegDataSample()
    for key, value in dict(pred_sem_seg=pred, gt_sem_seg=label).items():
        if value is not None:
            data = torch.as_tensor(np.asarray(value), dtype=torch.int64)[None]
            setattr(sample, key, PixelData(data=data))
    return sample


def halves(left, right, shape=(400, 400)):
    out = np.full(shape, left)
    out[:, shape[1] // 2 :] = right
    return out


def draw(tmp_path, sample, image=GREY, classes=('sky', 'sea'), **kwargs):
    options = {k: kwargs.pop(k) for k in ('palette', 'alpha') if k in kwargs}
    visualizer = OpenVocabVisualizer(classes=classes, **options)
    path = tmp_path / 'deep' / 'sheet.png'
    visualizer.add_datasample('x', image, sample, out_file=str(path), **kwargs)
    return np.array(Image.open(path))


def test_the_colour_of_a_class_depends_on_its_name_alone():
    names = [f'thing {i}' for i in range(1000)]
    palette = make_palette(names)
    assert len({tuple(colour) for colour in palette}) > 990
    assert make_palette(names[::-1]) == palette[::-1]
    assert make_palette(['background', 'thing 7']) == [[0, 0, 0], palette[7]]
    assert np.array(palette).min() >= 0 and np.array(palette).max() <= 255
    brightest = np.array(palette).max(1)
    assert brightest.min() > 130  # visible on dark images, and no black
    own = {'thing 1': (1, 2, 3)}
    assert make_palette(names[:3], own) == [palette[0], [1, 2, 3], palette[2]]


def test_a_clear_class_is_neither_coloured_nor_named():
    image, labels = np.full((8, 8, 3), 100, np.uint8), halves(0, 1, (8, 8))
    palette = np.array([[0, 0, 0], [200, 0, 50]], np.uint8)
    out = draw_overlay(image, labels, palette, alpha=1, clear=0)
    assert (out[:, :4] == 100).all() and (out[:, 5:] == palette[1]).all()
    blank = Image.new('RGB', (400, 400))
    write_names(blank, np.zeros((400, 400), int), ['nothing'], 16, clear=0)
    assert not np.array(blank).any()


def test_overlay_mixes_colours_and_leaves_ignored_pixels():
    labels = halves(1, 255, (8, 8))
    image = np.full((8, 8, 3), 100, np.uint8)
    palette = np.array([[0, 0, 0], [200, 0, 50]], np.uint8)
    out = draw_overlay(image, labels, palette, alpha=0.5)
    assert out[0, 0].tolist() == [150, 50, 75]
    assert out[0, 7].tolist() == [100, 100, 100]
    assert (out[0, 4] < 100).all()  # border between two regions


def test_panels_stand_side_by_side(tmp_path):
    palette = [[255, 0, 0], [0, 0, 255]]
    sample = make_sample(pred=halves(0, 1), label=halves(1, 255))
    sheet = draw(tmp_path, sample, palette=palette, alpha=1.0, with_labels=False)
    middle = sheet[200]
    columns = {
        'image': (50, [100, 100, 100]),
        'prediction, left': (400 + 50, [255, 0, 0]),
        'prediction, right': (400 + 350, [0, 0, 255]),
        'label, left': (800 + 50, [0, 0, 255]),
        'label, ignored': (800 + 350, [100, 100, 100]),
    }
    for name, (x, colour) in columns.items():
        assert middle[x].tolist() == colour, name
    only = draw(tmp_path, sample, draw_gt=False)
    assert only.shape[1] < sheet.shape[1]
    plain = draw(tmp_path, None)
    assert plain.shape[1] < only.shape[1]


def test_legend_counts_pixels_at_the_size_of_the_maps(tmp_path, monkeypatch):
    seen = {}

    def spy(panels, entries, title, size, per_row):
        seen.update(titles=[t for t, _ in panels], entries=entries, title=title)
        return compose_sheet(panels, entries, title, size, per_row)

    module = 'mmseg_ovs.visualization.sheet.compose_sheet'
    monkeypatch.setattr(module, spy)
    pred = halves(2, 2)
    pred[:100] = 0
    sample = make_sample(pred=pred, label=halves(2, 65535))
    draw(tmp_path, sample, classes=('a', 'b', 'c'))
    assert seen['titles'] == ['image', 'prediction', 'label']
    assert [(e.name, e.shares) for e in seen['entries']] == [
        ('c', '75.0% | 50.0%'),
        ('a', '25.0% | 0.0%'),
        ('not labelled', '0.0% | 50.0%'),
    ]
    assert seen['entries'][-1].colour is None
    assert 'prediction | label' in seen['title']


def test_names_do_not_overlap_and_stay_on_their_region():
    labels = np.zeros((400, 400), int)
    labels[::4] = 1  # stripes: no room for a name
    labels[100:300, 100:300] = 2
    blank = Image.new('RGB', (400, 400), 'red')
    write_names(blank, labels, ['zero', 'one', 'two'], 16)
    drawn = (np.array(blank) != [255, 0, 0]).any(-1)
    assert drawn[150:250, 150:250].any()
    drawn[100:300, 100:300] = False
    assert not drawn.any()


def test_small_and_large_images_get_readable_panels(tmp_path):
    small, large = (
        draw(tmp_path, make_sample(np.zeros(size)), np.zeros((*size, 3), np.uint8))
        for size in ((20, 10), (2000, 3000))
    )
    assert small.shape[0] > 400
    assert 2 * 1280 < large.shape[1] < 2 * 1280 + 200


def test_many_classes_without_palette_make_a_longer_legend(tmp_path):
    classes = [f'class number {i}' for i in range(847)]
    labels = np.arange(847)[:, None].repeat(50, 1)
    image = np.zeros((847, 50, 3), np.uint8)
    few = draw(tmp_path, make_sample(pred=labels * 0), image, classes=classes)
    many = draw(tmp_path, make_sample(pred=labels), image, classes=classes)
    assert many.shape[0] > few.shape[0] + 1000


def test_legend_entries_never_overlap():
    entries = [
        LegendEntry((255, 0, 0), 'w' * 300, '100.0% | 100.0%'),
        LegendEntry(None, 'short', '0.0% | 0.0%'),
    ]
    sheet = compose_sheet([('t', Image.new('RGB', (60, 60)))], entries, 'title', 16)
    # One column as wide as the longest (shortened) name, clear paper at the right.
    assert sheet.shape[1] > 300
    assert (sheet[:, -4:] == 255).all()


def test_names_of_other_scripts(tmp_path):
    for name in ('žluťoučký kůň', 'дерево', 'δέντρο'):
        text, font = fit_font(name, 16)
        assert text == name
        boxes = font.getmask('\uffff').getbbox(), font.getmask(name[0]).getbbox()
        assert boxes[0] != boxes[1]
    # A private-use character: in no sane font, and never an empty box.
    text, _ = fit_font('x\U0010fffd', 16)
    assert text in ('x\\U0010fffd', 'x\U0010fffd')
    names = ('皮卡丘', 'line\nbreak\tand tab')
    draw(tmp_path, make_sample(halves(0, 1)), classes=names)


def test_missing_glyphs_are_spelt_out_with_a_warning(monkeypatch, warned):
    monkeypatch.setattr(fonts, '_system_fonts', lambda: ())
    fonts._find_font.cache_clear()
    fonts._fit.cache_clear()
    try:
        text, _ = fit_font('cat 猫', 16)
        fit_font('cat 猫', 16)
    finally:
        fonts._find_font.cache_clear()
        fonts._fit.cache_clear()
    assert text == 'cat \\u732b'
    assert ''.join(warned).count('no installed font') == 1


def test_shorten():
    assert shorten('a  b\n c', 10) == 'a b c'
    assert shorten('computer, computing machine', 10) == 'computer…'


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r'prediction is \(5, 5\).*\(400, 400\)'):
        draw(tmp_path, make_sample(pred=np.zeros((5, 5))))
    with pytest.raises(ValueError, match='uint8 RGB'):
        draw(tmp_path, make_sample(), image=np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match='uint8 RGB'):
        draw(tmp_path, make_sample(), image=np.zeros((4, 4, 3)))


def test_dataset_meta_without_or_with_another_palette(tmp_path):
    visualizer = OpenVocabVisualizer()
    assert len(visualizer.dataset_meta['classes']) == 19  # as in mmseg
    for palette in (None, [[1, 2, 3]]):
        visualizer.dataset_meta = dict(classes=('a', 'b'), palette=palette)
        path, sample = tmp_path / 'x.png', make_sample(halves(0, 1))
        visualizer.add_datasample('x', GREY, sample, out_file=str(path))
        assert path.exists()


def test_mmseg_hook_draws_into_show_dir(tmp_path):
    image = tmp_path / 'photo.png'
    Image.fromarray(GREY).save(image)
    Visualizer._instance_dict.pop('ovs_hook_test', None)
    backends = [dict(type='LocalVisBackend')]
    options = dict(vis_backends=backends, save_dir=str(tmp_path / 'shown'))
    cfg = dict(type='OpenVocabVisualizer', name='ovs_hook_test', **options)
    visualizer = VISUALIZERS.build(cfg)
    visualizer.dataset_meta = dict(classes=('a', 'b'))
    hook = SegVisualizationHook(draw=True, interval=1)
    assert hook._visualizer is visualizer
    sample = make_sample(pred=halves(0, 1), label=halves(0, 255))
    sample.set_metainfo(dict(img_path=str(image)))

    hook._after_iter(SimpleNamespace(iter=3), 0, {}, [sample], 'test')
    (written,) = (tmp_path / 'shown').rglob('*.png')
    assert written.name == 'test_photo.png_3.png'
    assert np.array(Image.open(written)).shape[1] > 3 * 400


def test_panels_in_rows():
    white = Image.new('RGB', (100, 50), 'white')
    panels = [('one', white), ('a name that is much too long for it', white)] * 2
    rows = [compose_sheet(panels, [], '', 10, per_row=n) for n in (1, 3, 9)]
    assert [sheet.shape for sheet in rows] == [
        (4 * 66 + 5, 110, 3),
        (2 * 66 + 5, 320, 3),
        (66 + 5, 425, 3),
    ]
    titles = rows[2][:16]
    assert (titles[:, 205:210] == 255).all()  # each title stays above its panel
    assert (titles[:, 110:205] < 255).any()
