"""The commands: tables, figures, unreadable images, mistakes."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from tests import tiny
from tests.tool_loader import load_tool


def load(name):
    return load_tool(f'tools/analysis/{name}.py')


@pytest.fixture
def configs(tmp_path):
    """A tiny DINOv2 of 4 blocks and a tiny SAM of 3."""
    dino = dict(tiny.BACKBONES['DINOv2'], arch=dict(tiny.VIT, depth=4), img_size=518)
    arch = dict(tiny.SAM['arch'], depth=3, global_attn_indexes=(2,))
    sam = dict(tiny.SAM, arch=arch, out_indices=-1, neck_output=False)
    sam.update(img_size=128, patch_size=16)
    paths = []
    for size, backbone in ((112, dino), (256, sam)):
        pixels = dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3)
        pixels['size'] = (size, size)
        paths.append(str(tmp_path / f'tiny_{size}.py'))
        cfg = dict(data_preprocessor=pixels, model=dict(backbone=backbone))
        Config(cfg).dump(paths[-1])
    return paths


@pytest.fixture
def photos(tmp_path):
    """Three images of different sizes, one of them grey."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in [('a', (60, 80, 3)), ('b', (90, 50, 3)), ('c', (40, 40))]:
        cv2.imwrite(str(folder / f'{name}.png'), rng.integers(0, 256, shape, np.uint8))
    return folder


def rows(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def is_figure(path, width):
    image = cv2.imread(str(path))
    return image.shape[1] > width and image.std() > 10


def test_spectrum(configs, photos, tmp_path, capsys):
    main = load('feature_spectrum').main
    out = tmp_path / 'out'
    args = [configs[0], str(photos), '--out', str(out), '--cutoff', '0.3']
    assert main(args) == 0
    ratios = rows(out / 'log_ratio.csv')
    assert [row['layer'] for row in ratios] == ['0', '1', '2', '3']
    for row in ratios:
        low, high, mean, ratio = (
            float(row[key])
            for key in ('low_energy', 'high_energy', 'mean_energy', 'log_ratio')
        )
        assert min(low, high, mean) > 0
        assert ratio == pytest.approx(np.log(high / low), abs=1e-4)
        assert float(row['log_ratio_with_mean']) < ratio
    spectrum = rows(out / 'spectrum.csv')
    assert {row['layer'] for row in spectrum} == set('0123')
    radii = [float(row['radius']) for row in spectrum if row['layer'] == '2']
    assert radii == sorted(radii) and radii[0] > 0 and radii[-1] < 1.5
    assert is_figure(out / 'spectrum.png', 1000)
    assert '3 images' in capsys.readouterr().out

    assert main([*args, '--layers', '1', '-1']) == 0
    assert [row['layer'] for row in rows(out / 'log_ratio.csv')] == ['1', '3']


def test_cka(configs, photos, tmp_path, capsys):
    main = load('feature_cka').main
    dino, sam = configs
    args = [str(photos), '--out', str(tmp_path), '--last', '2']
    assert main([*args, '--first', dino, '--second', sam]) == 0
    table = rows(tmp_path / 'cka.csv')
    assert [row['first/second'] for row in table] == ['2', '3']
    values = [float(row[key]) for row in table for key in ('1', '2')]
    assert all(0 < value < 1 for value in values)
    assert is_figure(tmp_path / 'cka.png', 500)
    # 8 x 8 tokens of DINO are the coarser grid
    assert f'{3 * 64} positions' in capsys.readouterr().out


def test_cka_with_itself(configs, photos, tmp_path):
    main = load('feature_cka').main
    dino = Config.fromfile(configs[0])
    weights = tmp_path / 'dino.pth'
    torch.save(MODELS.build(dino.model.backbone).state_dict(), weights)
    args = [str(photos), '--out', str(tmp_path), '--last', '1']
    for which in ('first', 'second'):
        args += [f'--{which}', configs[0], f'--{which}-weights', str(weights)]
    assert main(args) == 0
    (row,) = rows(tmp_path / 'cka.csv')
    assert float(row['3']) == pytest.approx(1, abs=1e-6)
    # ... and at half the size it is another one
    assert main([*args, '--second-size', '56']) == 0
    (row,) = rows(tmp_path / 'cka.csv')
    assert float(row['3']) < 0.999
    # ... as it is with another setting
    options = ['--second-options', 'model.backbone.interpolate_offset=0']
    assert main([*args, '--first-size', '98', *options]) == 0


def test_feature_maps(configs, photos, tmp_path, capsys):
    main, out = load('feature_maps').main, tmp_path / 'out'
    args = [configs[0], str(photos), '--out', str(out), '--point', '0.2', '0.9']
    assert main(args) == 0
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'b.png', 'c.png']
    assert is_figure(out / 'a.png', 5 * 320)
    assert '3 sheets of DINOv2, 112 pixels' in capsys.readouterr().out
    (photos / 'b.png').write_bytes(b'no image')
    assert main([*args, '--layers', '-1', '--per-row', '1']) == 1
    assert cv2.imread(str(out / 'a.png')).shape[1] < 800
    for wrong in (['--point', '2', '0'], ['--layers', 'x'], ['--per-row', '0']):
        with pytest.raises(SystemExit, match='2'):
            main([*args, *wrong])


def test_layers_of_a_backbone_inside_another(configs, photos, tmp_path, capsys):
    plain = Config.fromfile(configs[0])
    backbone = MODELS.build(plain.model.backbone)
    inside = f'backbone.backbone.{next(iter(backbone.state_dict()))}'
    plain.model.backbone = dict(type='BackboneWithNeck', backbone=plain.model.backbone)
    plain.dump(tmp_path / 'wrapped.py')
    state = {f'backbone.backbone.{k}': v for k, v in backbone.state_dict().items()}
    assert inside in state
    torch.save(state, tmp_path / 'whole.pth')
    args = [str(photos), '--weights', str(tmp_path / 'whole.pth'), '--out']
    main = load('feature_maps').main
    assert main([str(tmp_path / 'wrapped.py'), *args, str(tmp_path / 'out')]) == 0
    assert is_figure(tmp_path / 'out/a.png', 5 * 320)


@pytest.mark.parametrize('tool', ['feature_spectrum', 'feature_cka'])
def test_images_that_cannot_be_read(tool, configs, photos, tmp_path, capsys):
    (photos / 'broken.jpg').write_bytes(b'\xff\xd8 no image')
    (photos / 'empty.png').touch()
    main, out = load(tool).main, tmp_path / 'out'
    if tool == 'feature_spectrum':
        args = [configs[0], str(photos)]
    else:
        args = [str(photos), '--first', configs[0], '--second', configs[1]]
        args += ['--last', '1']
    assert main([*args, '--out', str(out)]) == 1
    text = capsys.readouterr()
    assert '2 of 5 images could not be read' in text.err
    assert 'broken.jpg: ' in text.err and 'empty.png: ' in text.err
    assert '3 images' in text.out  # what was read is analysed
    assert len(list(out.glob('*.png'))) == 1

    for path in photos.glob('?.png'):
        path.unlink()
    with pytest.raises(SystemExit, match=r'None of the 2 images could be read.*broken'):
        main([*args, '--out', str(tmp_path / 'none')])
    assert not (tmp_path / 'none').exists()


def test_mistakes(configs, photos, tmp_path, capsys):
    main, out = load('feature_spectrum').main, ['--out', str(tmp_path / 'out')]
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(SystemExit, match='empty has no images'):
        main([configs[0], str(empty), *out])
    with pytest.raises(SystemExit, match='where results are written'):
        main([configs[0], str(photos / '*'), '--out', str(photos)])
    with pytest.raises(SystemExit, match='No such file or folder'):
        main([configs[0], str(tmp_path / 'nowhere'), *out])
    with pytest.raises(SystemExit, match='neither a file nor the name of a model'):
        main(['no_config', str(photos), *out])
    with pytest.raises(SystemExit, match=r'4 layers, not \[-5\]'):
        main([configs[0], str(photos), *out, '--layers', '-5'])
    with pytest.raises(SystemExit, match=r'No checkpoint at .*x\.pth'):
        main([configs[0], str(photos), *out, '--weights', 'x.pth'])
    for wrong in (['--cutoff', '2'], ['--layers', 'some'], ['--rings', '0']):
        with pytest.raises(SystemExit, match='2'):
            main([configs[0], str(photos), *out, *wrong])
    assert not (tmp_path / 'out').exists()


def test_defaults_are_dino_and_sam(photos):
    tool = load('feature_cka')
    args = tool.parse_args([str(photos), '--out', 'x'])
    assert args.last == 5
    assert Path(args.first).is_file() and 'dinov2' in args.first
    assert Path(args.second).is_file() and 'sam' in args.second
