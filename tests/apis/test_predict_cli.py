"""``python -m mmseg_ovs.predict``: what it writes, what it says, its exit codes."""

import json
import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import WORDS, make_image, tiny_config, write_clip

from mmseg_ovs.apis import OpenVocabInferencer, Prediction, Video
from mmseg_ovs.predict import main, parse_args
from tests.tool_loader import run_process


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    tiny_config().dump(path)
    return path


@pytest.fixture
def options(config, checkpoint, tmp_path):
    paths = dict(config=config, checkpoint=checkpoint, out=tmp_path / 'out')
    return [f'--{key}={path}' for key, path in paths.items()]


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_the_command_as_documented(folder, options, out, config, checkpoint):
    """In a process of its own; the broken image in the middle is told at the end."""
    command = ['-m', 'mmseg_ovs.predict', folder, '--batch-size=2']
    words = ['a pikachu', 'tree', 'road']
    done = run_process(*command, '--classes', *words, *options, code=1)
    assert '2 images segmented' in done.stdout
    assert '1 of 3 images failed:' in done.stderr
    assert (
        f'{folder / "b.png"}: ImageError: not readable' in done.stderr.splitlines()[-1]
    )
    assert '3/3' in done.stderr  # the progress bar
    assert names(out) == ['legend.json', 'overlay', 'pred', 'vis']
    assert names(out / 'pred') == names(out / 'vis') == ['a.png', 'c.png']
    assert names(out / 'overlay') == ['a.jpg', 'c.jpg']
    legend = json.loads((out / 'legend.json').read_text())
    assert [entry['name'] for entry in legend['classes']] == words
    inferencer = OpenVocabInferencer(str(config), checkpoint, 'cpu')
    expected = inferencer(folder / 'a.png', words).labels
    written = np.array(Image.open(out / 'pred' / 'a.png'))
    assert (written == expected).mean() > 0.99


def test_several_files_without_failure(folder, options, out, capsys):
    images = [str(folder / 'c.jpg'), str(folder / 'a.png')]
    assert main([*images, *options, '--classes', *WORDS]) == 0
    assert 'failed' not in capsys.readouterr().err
    assert names(out / 'pred') == ['a.png', 'c.png']


def test_vocabulary_and_background(folder, options, out, tmp_path):
    words = tmp_path / 'words.json'
    words.write_text(json.dumps([f'thing {i}' for i in range(300)]))
    image = str(folder / 'a.png')
    arguments = [image, *options, f'--vocabulary={words}', '--background-score=1e6']
    assert main(arguments) == 0
    legend = json.loads((out / 'legend.json').read_text())
    assert legend['background_label'] == 0 and len(legend['classes']) == 301
    written = cv2.imread(str(out / 'pred' / 'a.png'), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16 and not written.any()


def test_without_words_those_of_the_training_data(folder, options, out):
    assert main([str(folder / 'a.png'), *options]) == 0
    legend = json.loads((out / 'legend.json').read_text())
    assert tuple(entry['name'] for entry in legend['classes']) == WORDS


def test_settings_override_the_config(folder, options, capsys):
    image = str(folder / 'c.jpg')  # 24 x 33: no multiple of the patch
    override = ['--cfg-options', 'model.backbone.fit=error']
    assert main([image, *options, *override]) == 1
    assert 'no multiples of the patch size' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{folder}/nowhere.png'], 'No such file or folder: .*nowhere.png'),
        (['{empty}'], 'has no images'),
        (['{empty}/**/*.png'], 'has no images'),
        (['{clip}', '--scores'], '--scores is for images, and .*clip.mp4 is a video'),
        (['{folder}', '--frames'], '--frames is for videos, and the inputs have none'),
        (['{folder}', '--temporal', 'smooth'], '--temporal is for videos, and the in'),
        (['{clip}', '--temporal', 'smoth'], "no temporal strategy 'smoth'"),
        (['{clip}', '--temporal', 'smooth', 'share=2'], 'share has to be from 0 on'),
        (['{clip}', '--temporal', 'smooth', 'type="propagate"'], 'gives type twice'),
        (['{clip}', '--temporal', 'smooth', '{clip}'], 'not .*clip.mp4: give images'),
        (['{folder}', '--classes', 'tree', 'tree'], "'tree' appears twice"),
        (['{folder}', '--vocabulary', 'no_such_list'], 'Unknown vocabulary'),
        (['{folder}', '--config', 'no_such_config'], 'neither a file nor the name'),
        (['{folder}', '--out', '{folder}/a.png'], 'a.png is a file, and a folder'),
        (['{folder}', '--device', 'cuda:foo'], 'cuda:foo.* is not one of PyTorch'),
        (['{folder}', '--checkpoint', 'no.pth'], 'No checkpoint at no.pth'),
        (['{folder}', '--checkpoint', '{folder}/a.png'], 'a.png .*truncated|plain'),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    folder, options, out, tmp_path, arguments, message
):
    empty = tmp_path / 'empty'
    empty.mkdir()
    clip = write_clip(tmp_path / 'clip.mp4', frames=1)
    filled = [a.format(folder=folder, empty=empty, clip=clip) for a in arguments]
    with pytest.raises(SystemExit, match=f'^error: .*({message})'):
        main([*options, *filled])
    assert not out.exists()


@pytest.mark.parametrize(
    'extra',
    [
        ['--batch-size', '0'],
        ['--every', '0'],
        ['--skip-existing', '--format', 'coco'],
        ['--opacity', '60'],
        ['--format', 'xml'],
        ['--classes', 'a', '--vocabulary', 'b'],
    ],
)
def test_arguments_that_make_no_sense(folder, options, extra):
    with pytest.raises(SystemExit) as caught:
        main([str(folder), *options, *extra])
    assert caught.value.code == 2


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path, options, out):
    for sub, seed in (('x', 1), ('y', 2)):
        (tmp_path / sub).mkdir()
        cv2.imwrite(str(tmp_path / sub / 'p.png'), make_image(seed=seed))
    assert main([str(tmp_path / 'x'), str(tmp_path / 'y'), *options]) == 0
    assert names(out / 'pred') == ['p.png', 'p_2.png']


def labels_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_keeps_the_results_of_one_vocabulary(folder, options, out):
    image, other = str(folder / 'a.png'), folder / 'other'
    other.mkdir()
    cv2.imwrite(str(other / 'a.png'), make_image(seed=5))
    words = ['--classes', *WORDS]
    assert main([image, *options, *words]) == 0
    before = labels_in(out / 'pred')
    for changed in (['tree', 'road'], [*WORDS[::-1]]):
        with pytest.raises(SystemExit, match='^error: .*has results of other classes'):
            main([image, *options, '--classes', *changed])
    assert main([str(other / 'a.png'), image, *options, *words]) == 0
    after = labels_in(out / 'pred')
    assert after.keys() == {'a.png', 'a_2.png'} and before['a.png'] == after['a.png']
    legend = json.loads((out / 'legend.json').read_text())
    assert legend['images'] == dict(a=image, a_2=str(other / 'a.png'))
    (out / 'coco.json').write_text('[]')
    with pytest.raises(SystemExit, match='coco.json would be replaced'):
        main([image, *options, *words, '--format', 'coco'])
    (out / 'legend.json').write_text('{')
    with pytest.raises(SystemExit, match='legend.json is damaged'):
        main([image, *options, *words])


def test_a_run_goes_on_where_another_library_is_faster(
    folder, options, out, monkeypatch
):
    for faster in (True, None, False):
        found = 'mmseg_ovs.acceleration.probe.onednn_is_faster'
        monkeypatch.setattr(found, lambda threads, faster=faster: faster)
        main([str(folder / 'a.png'), *options, '--classes', *WORDS, '--skip-existing'])
    with pytest.raises(SystemExit, match='acceleration none, now onednn'):
        main([str(folder / 'a.png'), *options, '--classes', *WORDS, '--onednn'])


def test_an_interrupted_run_goes_on(folder, options, out, capsys, monkeypatch):
    write_clip(folder / 'd.mp4', frames=1)
    (folder / 'b.png').unlink()
    draw, drawn = Prediction.sheet, []

    def interrupt(prediction, *args):
        drawn.append(prediction.source.name)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return draw(prediction, *args)

    monkeypatch.setattr(Prediction, 'sheet', interrupt)
    arguments = [str(folder), *options, '--classes', *WORDS]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 130
    assert 'repeat the command with --skip-existing' in capsys.readouterr().err
    assert names(out / 'vis') == ['a.png']
    assert main([*arguments, '--skip-existing']) == 0
    assert drawn[2:] == [str(folder / 'c.jpg')]
    assert names(out / 'vis') == ['a.png', 'c.png', 'd.mp4']
    assert main([*arguments, '--skip-existing']) == 0 and len(drawn) == 3
    assert 'have results: 3' in capsys.readouterr().err


def test_one_file_is_one_source_however_it_is_typed(
    tmp_path, options, out, capsys, monkeypatch
):
    for sub, seed in (('x', 1), ('y', 2)):
        (tmp_path / sub).mkdir()
        cv2.imwrite(str(tmp_path / sub / 'p.png'), make_image(seed=seed))
        monkeypatch.chdir(tmp_path / sub)
        assert main(['p.png', *options, '--skip-existing']) == 0
    assert names(out / 'pred') == ['p.png', 'p_2.png']
    (tmp_path / 'link').symlink_to(tmp_path / 'x')
    for same in (tmp_path / 'x', tmp_path / 'link', '../x/p.png', 'p.png'):
        capsys.readouterr()
        assert main([str(same), *options, '--skip-existing']) == 0
        assert 'have results: 1' in capsys.readouterr().err
    legend = json.loads((out / 'legend.json').read_text())
    paths = [str((tmp_path / sub / 'p.png').resolve()) for sub in 'xy']
    assert list(legend['images'].values()) == paths


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (['--background-score=9'], 'background score 0.5, now 9.0'),
        (['--vocabulary={other}'], 'synonyms of tree: tree, bush, now tree, fir'),
        (['--checkpoint={copy}'], 'checkpoint .*, now .*copy.pth'),
        (['--short-side=32'], r'image size \[\], now .*32'),
        (['--cfg-options', 'model.test_cfg.refine=False'], r'config tiny.py \('),
        (['--every=2'], '--every 1, now 2'),
        (['--no-onednn'], 'acceleration none, now no-onednn'),
    ],
)
def test_a_folder_keeps_the_results_of_the_same_settings(
    folder, options, out, tmp_path, checkpoint, changed, message
):
    for name, synonyms in (('words', ['tree', 'bush']), ('other', ['tree', 'fir'])):
        words = dict(classes=['tree', 'road'], synonyms=[synonyms, ['road']])
        (tmp_path / f'{name}.json').write_text(json.dumps(words))
    (tmp_path / 'copy.pth').write_bytes(checkpoint.read_bytes())
    write_clip(folder / 'd.mp4', frames=2)
    words = [f'--vocabulary={tmp_path}/words.json', '--background-score=0.5']
    arguments = [str(folder / 'a.png'), str(folder / 'd.mp4'), *options, *words]
    assert main(arguments) == 0
    paths = dict(other=tmp_path / 'other.json', copy=tmp_path / 'copy.pth')
    changed = [text.format(**paths) for text in changed]
    before = (out / 'legend.json').read_bytes()
    with pytest.raises(SystemExit, match=f'^error: .*with other settings .*{message}'):
        main([*arguments, *changed, '--skip-existing'])
    assert (out / 'legend.json').read_bytes() == before


def test_weights_that_were_trained_again(folder, options, out, tmp_path, checkpoint):
    weights = tmp_path / 'last.pth'
    weights.write_bytes(checkpoint.read_bytes())
    arguments = [str(folder / 'a.png'), *options, '--checkpoint', str(weights)]
    assert main([*arguments, '--classes', 'tree', 'road']) == 0
    content = torch.load(weights, weights_only=True)
    next(iter(content['state_dict'].values())).add_(1)
    torch.save(content, weights)
    with pytest.raises(SystemExit, match='with other settings .*last.pth'):
        main([*arguments, '--classes', 'tree', 'road', '--skip-existing'])


def test_files_of_something_else_are_not_replaced(folder, options, out):
    drawn = out / 'pred' / 'a.png'
    drawn.parent.mkdir(parents=True)
    drawn.write_bytes(b'by hand')
    with pytest.raises(SystemExit, match='pred has files of something else'):
        main([str(folder / 'a.png'), *options, '--classes', 'tree', 'road'])
    assert drawn.read_bytes() == b'by hand'


def test_frames_that_are_missing_are_no_results(folder, options, out, capsys):
    clip = write_clip(folder / 'd.mp4', frames=3)
    arguments = [str(clip), *options, '--skip-existing']
    assert main(arguments) == 0 and not (out / 'pred').exists()
    frames = ['000000.png', '000001.png', '000002.png']
    for skipped in (False, True, False):
        capsys.readouterr()
        assert main([*arguments, '--frames']) == 0
        assert ('have results: 1' in capsys.readouterr().err) == skipped
        assert names(out / 'pred' / 'd') == frames
        if skipped:
            (out / 'pred' / 'd' / frames[1]).unlink()  # as an interrupted run would


@pytest.mark.parametrize(
    'arguments',
    [
        ['--classes', 'tree', 'a.png'],
        ['c.jpg', '--classes', 'tree', 'a.png'],
        ['c.jpg', '--classes', 'tree', '{folder}'],
    ],
)
def test_images_behind_the_classes(folder, options, arguments):
    *rest, last = arguments
    last = last.format(folder=folder)
    with pytest.raises(SystemExit, match=f'^error: --classes takes {last} for a class'):
        main([*options, *rest, last])
    assert parse_args(['c.jpg', *options, '--classes', 'tree', 'w/o leaves']).inputs


def test_classes_in_one_word(folder, options, warned):
    assert main([str(folder / 'a.png'), *options, '--classes', 'sky,road,car']) == 0
    (text,) = (text for text in warned if 'One class' in text)
    assert 'Commas do not separate classes' in text


def test_patterns_scores_and_a_coco_data_set(folder, options, out):
    (folder / 'sub').mkdir()
    cv2.imwrite(str(folder / 'sub' / 'd.png'), make_image(seed=4))
    extra = ['--scores', '--bf16', '--batch-size=3', '--format', 'coco']
    pattern = str(folder / '**' / '[!b].*')
    assert main([pattern, *options, *extra, '--classes', *WORDS]) == 0
    stems = ['a', 'c', 'd']
    assert names(out) == [
        *('coco.json', 'legend.json', 'overlay', 'pred', 'scores', 'vis')
    ]
    assert names(out / 'scores') == [f'{stem}.npy' for stem in stems]
    data_set = json.loads((out / 'coco.json').read_text())
    entries = data_set['annotations']
    file_names = [image['file_name'] for image in data_set['images']]
    assert file_names == ['a.png', 'c.jpg', 'sub/d.png']
    assert [entry['id'] for entry in entries] == [*range(1, len(entries) + 1)]
    for number, stem in enumerate(stems, 1):
        labels = np.array(Image.open(out / 'pred' / f'{stem}.png'))
        own = [entry for entry in entries if entry['image_id'] == number]
        areas = {entry['category_id'] - 1: entry['area'] for entry in own}
        assert areas == dict(zip(*np.unique(labels, return_counts=True), strict=True))
        kept = np.load(out / 'scores' / f'{stem}.npy')
        assert (kept.argmax(0) == labels).mean() > 0.99  # 16 bits may tip a tie
        for entry in own:
            label = entry['category_id'] - 1
            mean = kept[label][labels == label].astype(np.float64).mean()
            assert entry['score'] == pytest.approx(mean, rel=1e-3)


def test_videos_beside_images(folder, options, out, capsys, config, checkpoint):
    """An unreadable and a truncated one in the middle; the others are written."""
    write_clip(folder / 'a.mp4', frames=7)
    (folder / 'bad.mp4').write_bytes((folder / 'a.mp4').read_bytes()[:500])
    whole = write_clip(folder / 'z.avi', frames=40, codec='MJPG')
    content = whole.read_bytes()
    (folder / 'half.avi').write_bytes(content[: len(content) // 2])
    whole.unlink()
    (folder / 'b.png').unlink()
    extra = ['--frames', '--every=3', '--batch-size=2', '--format', 'coco']
    arguments = [str(folder), str(folder / 'a.mp4'), *options, *extra]
    assert main([*arguments, '--classes', *WORDS]) == 1

    told = capsys.readouterr()
    assert '4 images and videos segmented' in told.out
    assert '2 of 6 images and videos failed:' in told.err
    first, second = told.err.splitlines()[-2:]
    assert first == f'  {folder / "bad.mp4"}: not readable as a video'
    assert f'{folder / "half.avi"}: it ends after' in second
    assert '3/3' in told.err  # a bar for the video's frames

    assert names(out / 'vis') == ['a.png', 'a_2.mp4', 'a_3.mp4', 'c.png', 'half.mp4']
    assert names(out / 'pred') == ['a.png', 'a_2', 'a_3', 'c.png', 'half']
    assert names(out / 'pred' / 'a_2') == ['000000.png', '000003.png', '000006.png']
    legend = json.loads((out / 'legend.json').read_text())
    assert legend['images'] == dict(a=str(folder / 'a.png'), c=str(folder / 'c.jpg'))
    assert legend['videos']['a_3'] == str(folder / 'a.mp4')

    images = json.loads((out / 'coco.json').read_text())['images']
    file_names = [image['file_name'] for image in images]
    assert file_names[:3] == ['a.png', 'c.jpg', 'a_2/000000.png']
    assert [name for name in file_names if name.startswith('a_3')] == [
        f'a_3/{frame:06}.png' for frame in (0, 3, 6)
    ]
    inferencer = OpenVocabInferencer(str(config), checkpoint, 'cpu')
    overlays = list(Video(out / 'vis' / 'a_2.mp4'))
    assert len(overlays) == 3
    for source, drawn in zip(Video(folder / 'a.mp4', every=3), overlays, strict=True):
        (prediction,) = inferencer.predict(source, WORDS)
        path = out / 'pred' / 'a_2' / f'{source.frame:06}.png'
        assert (np.array(Image.open(path)) == prediction.labels).mean() > 0.99
        expected = np.asarray(prediction.plot())[..., ::-1]
        assert drawn.content.shape == expected.shape
        difference = np.abs(drawn.content.astype(int) - expected).mean()
        assert difference < 20  # the codec


def test_speed_and_flicker_of_a_video(tmp_path, options, out, capsys):
    clip = str(write_clip(tmp_path / 'a.mp4', frames=3))
    assert main([clip, *options, '--temporal', 'propagate', 'radius=1']) == 0
    speed, flicker, done = capsys.readouterr().out.splitlines()
    seconds = r'\d+\.\d{3}'
    assert re.fullmatch(
        rf'{clip}: [\d.]+ of 5 frames a second \([\d.e+]+ x real time\); seconds a '
        rf'frame: decode {seconds}, model {seconds}, temporal {seconds}, draw and '
        rf'write {seconds}',
        speed,
    )
    assert flicker.startswith('labels flicker: ') and done.startswith('1 video ')
    settings = json.loads((out / 'legend.json').read_text())['settings']
    assert 'radius=1' in settings['--temporal']
    with pytest.raises(SystemExit, match=r'other settings \(--temporal Propagate'):
        main([clip, *options])


def test_a_frame_that_cannot_be_segmented_fails_its_video(folder, options, out, capsys):
    write_clip(folder / 'a.mp4', frames=2, size=(42, 50))
    inputs = [str(folder / 'a.mp4'), str(folder / 'a.png'), '--frames']
    override = ['--cfg-options', 'model.backbone.fit=error']  # multiples of 8 only
    assert main([*inputs, *options, *override]) == 1
    assert f'{folder / "a.mp4"}: frame 0: ' in capsys.readouterr().err.splitlines()[-1]
    assert names(out / 'vis') == names(out / 'pred') == ['a.png']
