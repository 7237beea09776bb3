"""Videos: read frame by frame, written whole or not at all."""

import sys
from fractions import Fraction
from itertools import chain, islice

import cv2
import numpy as np
import pytest
from tiny_model import WORDS, make_image, tiny_config, write_clip

from mmseg_ovs.apis import (
    ImageError,
    OpenVocabInferencer,
    Video,
    VideoError,
    build_temporal,
    list_images,
    video_encoders,
    writing_video,
)


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp('clip') / 'clip.mp4', frames=10)


@pytest.mark.parametrize('every', [1, 3, 20])
def test_frames_are_those_that_opencv_reads(clip, every):
    capture = cv2.VideoCapture(str(clip))
    frames = [capture.read()[1] for _ in range(10)]
    video = Video(clip, every)
    taken = list(video)
    assert [source.frame for source in taken] == list(range(0, 10, every))
    assert {source.name for source in taken} == {str(clip)}
    for source in taken:
        assert np.array_equal(source.content, frames[source.frame])
    assert video.num_frames == len(taken)
    assert video.fps == pytest.approx(5 / every)
    video.check_complete()
    assert len(list(video)) == len(taken)  # again from the beginning


def test_frames_are_read_as_they_are_needed(clip, checkpoint):
    read = []

    def watched():
        for source in Video(clip):
            read.append(source.frame)
            yield source

    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    predictions = inferencer.predict(watched(), WORDS, batch_size=2)
    assert read == []
    first = list(islice(predictions, 3))
    assert read == [0, 1, 2, 3]
    frames = list(islice(Video(clip), 3))
    for prediction, source in zip(first, frames, strict=True):
        alone = inferencer(source, WORDS).labels
        assert (prediction.labels == alone).mean() > 0.99
        overlay = np.asarray(prediction.plot())
        assert overlay.shape == source.content.shape and overlay.dtype == np.uint8


def test_a_strategy_is_for_videos_and_starts_with_each_call(checkpoint):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    frames = [make_image(seed=seed) for seed in (0, 1)]
    smooth = dict(type='smooth', share=0.9, cut=255)

    def labels(temporal, images=frames, batch_size=1):
        predictions = inferencer.predict(
            iter(images), WORDS, temporal=temporal, batch_size=batch_size
        )
        return [p.labels if p.error is None else p.reason for p in predictions]

    plain, mixed = labels('none'), labels(smooth)
    assert np.array_equal(plain[0], mixed[0]) and np.array_equal(plain, labels(None))
    assert (plain[1] != mixed[1]).any() and np.array_equal(mixed, labels(smooth))
    memory = build_temporal(smooth)
    going_on = [labels(memory, [frame])[0] for frame in frames]
    assert np.array_equal(mixed, going_on)
    for images in (frames, frames[0], 'a folder'):
        with pytest.raises((VideoError, ImageError), match='temporal is for|No such'):
            inferencer.predict(images, WORDS, temporal='smooth')
    with pytest.raises(VideoError, match='temporal is for the frames of a video'):
        inferencer(frames, WORDS, temporal='smooth')


@pytest.mark.parametrize('batch_size', [1, 3])
def test_a_video_begins_anew_after_another(clip, checkpoint, batch_size):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    smooth = dict(type='smooth', share=0.9, cut=255)

    def labels(*videos):
        images = islice(chain(*videos), 20)
        found = inferencer.predict(
            images, WORDS, batch_size=batch_size, temporal=smooth
        )
        return [prediction.labels for prediction in found]

    alone = labels(Video(clip, every=4))
    both = labels(islice(Video(clip), 5, 7), Video(clip, every=4))
    assert len(alone) == 3 and np.array_equal(both[2:], alone)


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('name', ['smooth', 'propagate'])
def test_a_frame_of_another_size_fails_alone(checkpoint, name, batch_size):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    frames = [make_image(), make_image(48, 56), make_image()]
    first, second, third = inferencer.predict(
        iter(frames), WORDS, temporal=name, batch_size=batch_size
    )
    assert 'has 56 x 48 pixels in the model, those before 56 x 40' in second.reason
    (_, expected) = inferencer.predict(iter(frames[::2]), WORDS, temporal=name)
    assert (third.labels == expected.labels).mean() > 0.99


def test_a_truncated_video_gives_what_it_has(tmp_path):
    whole = write_clip(tmp_path / 'whole.avi', frames=40, codec='MJPG')
    video = Video(whole)
    list(video)
    video.check_complete()
    content = whole.read_bytes()
    path = tmp_path / 'half.avi'
    path.write_bytes(content[: len(content) // 2])
    video = Video(path)
    count = len(list(video))
    assert 10 < count < 30
    with pytest.raises(VideoError, match=f'ends after {count} of 40 frames'):
        video.check_complete()


@pytest.mark.parametrize('content', [b'', b'no video'])
def test_what_is_no_video(tmp_path, content):
    path = tmp_path / 'x.mp4'
    path.write_bytes(content)
    with pytest.raises(VideoError, match='not readable as a video'):
        Video(path)


def test_a_step_that_makes_no_sense(clip):
    with pytest.raises(ValueError, match='every has to be at least 1'):
        Video(clip, every=0)


def test_a_video_among_images_is_an_error_that_says_what_to_do(clip):
    with pytest.raises(ImageError, match=r'clip.mp4 is a video: use predict\(\)'):
        list_images([make_image(), clip])


# ----------------------------------------------------------------------- writing
@pytest.fixture(params=['h264', 'mpeg4'])
def codec(request, monkeypatch):
    if request.param == 'h264':
        pytest.importorskip('av')
    else:
        monkeypatch.setitem(sys.modules, 'av', None)
    return request.param


@pytest.mark.parametrize('size', [(40, 56), (33, 51), (2, 2), (720, 1280)])
def test_what_is_written_is_read_back(tmp_path, size, codec):
    colours = [(250, 20, 20), (20, 250, 20), (20, 20, 250)]
    path = tmp_path / 'out' / 'a.mp4'
    with writing_video(path, 29.97) as writer:
        for colour in colours:
            writer.write(np.full((*size, 3), colour, np.uint8))
        assert not path.exists()
    video = Video(path)
    assert (video.fps, video.num_frames) == (pytest.approx(29.97, abs=0.01), 3)
    for source, colour in zip(video, colours, strict=True):
        assert abs(source.content[..., ::-1].mean((0, 1)) - colour).max() < 30
        height, width = source.content.shape[:2]
        assert (height, width) == (size[0] & ~1, size[1] & ~1)
    assert [p.name for p in path.parent.iterdir()] == ['a.mp4']


def test_a_failure_leaves_no_half_video(tmp_path, codec):
    path = tmp_path / 'a.mp4'
    with pytest.raises(KeyboardInterrupt), writing_video(path, 5) as writer:
        writer.write(make_image())
        raise KeyboardInterrupt
    with pytest.raises(VideoError, match='no frame'), writing_video(path, 5):
        pass
    with (
        pytest.raises(VideoError, match='frame 1 is 33 x 24 pixels, those before 56 x'),
        writing_video(path, 5) as writer,
    ):
        writer.write(make_image())
        writer.write(make_image(24, 33))
    assert not list(tmp_path.iterdir())


def test_a_size_that_the_codec_does_not_take(tmp_path, codec):
    path = tmp_path / 'a.mp4'
    with (
        pytest.raises(VideoError, match='cannot write MP4 videos of 1 x 1 pixels'),
        writing_video(path, 5) as writer,
    ):
        writer.write(make_image(1, 1))


def test_frames_that_were_not_written_are_noticed(tmp_path, codec):
    with (
        pytest.raises(VideoError, match='only 2 of 3 frames could be written'),
        writing_video(tmp_path / 'a.mp4', 5) as writer,
    ):
        for _ in range(3):
            writer.write(make_image())
        writer.release()
        with writing_video(writer.path, 5) as shorter:  # as a full disk would leave it
            shorter.write(make_image())
            shorter.write(make_image())


def test_browsers_can_play_it_and_start_at_once(tmp_path):
    av = pytest.importorskip('av')
    with writing_video(tmp_path / 'a.mp4', 30000 / 1001) as writer:
        for seed in range(5):
            writer.write(make_image(seed=seed))
    with av.open(str(tmp_path / 'a.mp4')) as file:
        (stream,) = file.streams
        assert stream.codec_context.name == 'h264'
        assert stream.codec_context.pix_fmt == 'yuv420p'
        assert stream.average_rate == Fraction(30000, 1001)
    content = (tmp_path / 'a.mp4').read_bytes()
    assert content.index(b'moov') < content.index(b'mdat')


def test_without_the_encoder_a_warning_says_so_once(tmp_path, monkeypatch, warned):
    monkeypatch.setitem(sys.modules, 'av', None)
    video_encoders._warn.cache_clear()
    for name in ('a.mp4', 'b.mp4'):
        with writing_video(tmp_path / name, 5) as writer:
            writer.write(make_image())
    (text,) = warned
    assert 'which browsers do not play' in text
    assert "pip install 'mmseg_ovs[video]'" in text
