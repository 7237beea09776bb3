"""The page itself, in Gradio: what people see, and what happens when they press."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr

from mmseg_ovs.apis import ImageError, ImageSource, VideoError
from mmseg_ovs.apis.one_class import one_class_hint
from mmseg_ovs.models.segmentors.temporal import STRATEGIES
from mmseg_ovs.structures import VocabularyError
from mmseg_ovs.utils import OpenVocabError

from .examples import make_examples
from .images import Limits, check_image
from .models import Answer, PageModel
from .overlay import make_view, new_folder
from .video import segment_video
from .words import read_words

# Uploads and results are deleted an hour after they were made.
_CLEANING = (600, 3600)
# Float32 scores of all names in MiB; what is larger is neither shown nor offered.
_LARGEST_SCORES = 512
_NO_SCORES = f'No scores: they would take more than {_LARGEST_SCORES} MiB.'
_RANDOM = '**Random weights: this result is noise.**'
_CLOSE_MESSAGES = (
    "() => document.querySelectorAll('.toast-close').forEach(b => b.click())"
)
_HERE = Path(__file__).parent
_RESULT = """
<div class="nothing">Choose an image, type classes, press Segment.</div>
<div class="stage">
  <img class="photo" alt="the segmented image">
  <canvas class="masks" role="img"></canvas>
  <div class="tip" role="status" hidden></div>
</div>
<div class="below">
  <div class="legend"></div>
  <label class="opacity">Opacity <input type="range" value="60"></label>
  <div class="files"></div>
</div>
"""


def build_page(models: Mapping[str, PageModel], limits: Limits) -> gr.Blocks:
    """Lay out the page.

    Args:
        models: The models to choose from by name, at least one.
        limits: Of the images that are taken.
    """
    with gr.Blocks(
        title='mmseg_ovs',
        analytics_enabled=False,
        delete_cache=_CLEANING,
        fill_width=True,
    ) as page:
        gr.Markdown('## Segment an image by words')
        with gr.Row():
            with gr.Column(scale=2, min_width=330):
                fields = _fields(models, limits)
                button = gr.Button('Segment', variant='primary')
                with TemporaryDirectory() as folder:  # Gradio copies them
                    gr.Examples(
                        make_examples(Path(folder)),
                        fields[:2],
                        label='Examples',
                        visible_columns=[0],
                        api_visibility='private',
                    )
            with gr.Column(scale=5, min_width=330):
                result = gr.HTML(
                    html_template=_RESULT,
                    css_template=(_HERE / 'result.css').read_text('utf-8'),
                    js_on_load=(_HERE / 'result.js').read_text('utf-8'),
                    apply_default_css=False,
                )
                status = gr.Markdown()
        with gr.Accordion('Video, with the classes and settings above', open=False):
            _video(fields, models, limits)
        outputs = [result, status]
        button.click(None, js=_CLOSE_MESSAGES)
        pressed = button.click(
            _handler(models, limits),
            fields,
            outputs,
            # As uploaded (Gradio has checked that it was): a file that is no image
            # would end in Gradio's own preprocessing, without a word about it.
            preprocess=False,
            show_progress_on=result,
            concurrency_limit=limits.requests,
            concurrency_id='segment',
            api_name='segment',
        )
        pressed.failure(  # what is there is of another request
            lambda: (None, ''),
            outputs=outputs,
            show_progress='hidden',
            api_visibility='private',
        )
    return page


def _fields(models: Mapping[str, PageModel], limits: Limits) -> list[gr.Component]:
    """Lay out what the user fills in, in the order of the arguments of the handler."""
    names = list(models)
    first = models[names[0]]
    upload = gr.Image(
        label=f'Image (up to {limits.megabytes:g} MB, '
        f'{limits.megapixels:g} megapixels)',
        sources=['upload', 'clipboard'],
        type='filepath',
        image_mode=None,
        height=190,
        alt_text='the uploaded image',
    )
    words = gr.Textbox(
        label='Classes',
        info='One a line. Commas separate synonyms.',
        placeholder='building, edifice\ntree\nroad',
        lines=4,
        max_lines=4,
    )
    with gr.Row():
        model = gr.Dropdown(names, value=names[0], label='Model', min_width=150)
        refine = gr.Checkbox(
            value=first.refines,
            label='Refine masks',
            info='Slower. Borders follow those in the image.',
            min_width=130,
        )
    with gr.Row():
        has_background = gr.Checkbox(
            label='Background', info='Where no class scores higher.', min_width=130
        )
        score = gr.Textbox(
            _as_text(first.background_score),
            label='Background score',
            placeholder='a number',
            max_lines=1,
            min_width=150,
        )
    model.change(
        lambda name: (_as_text(models[name].background_score), models[name].refines),
        model,
        [score, refine],
        show_progress='hidden',
        api_visibility='private',
    )
    return [upload, words, model, has_background, score, refine]


def _video(
    fields: list[gr.Component], models: Mapping[str, PageModel], limits: Limits
) -> None:
    """Lay out what is for videos."""
    clip = gr.File(
        label=f'Video (up to {limits.megabytes:g} MB, {limits.frames} frames)',
        file_types=['video'],
    )
    temporal = gr.Radio(
        ['none', *STRATEGIES],
        value='none',
        label='Between frames',
        info='smooth: a place keeps a share of its scores. propagate: scores follow '
        'what moves.',
    )
    button = gr.Button('Segment the video')
    overlay = gr.Video(label='Overlay', interactive=False)
    status = gr.Markdown()
    button.click(None, js=_CLOSE_MESSAGES)
    button.click(
        _video_handler(models, limits),
        [clip, *fields[1:], temporal],
        [overlay, status],
        preprocess=False,  # as for images
        show_progress_on=overlay,
        concurrency_limit=limits.requests,
        concurrency_id='segment',
        api_name='segment_video',
    )


def _video_handler(
    models: Mapping[str, PageModel], limits: Limits
) -> Callable[..., tuple]:
    """What the button does: the values of the fields to overlay and status."""

    @_told
    def segment(video, classes, model, background, background_score, refine, temporal):
        if not video or not video['path']:
            raise VideoError('Choose a video first.')
        source = ImageSource(video['orig_name'] or 'The video', video['path'])
        vocabulary = read_words(classes)
        score = _background_score(background_score) if background else None
        if model not in models:
            raise OpenVocabError(f'There is no model {model!r}: {list(models)}')
        out = new_folder() / 'overlay.mp4'
        told = segment_video(
            models[model].load(),
            source,
            vocabulary,
            score,
            refine,
            temporal,
            limits,
            out,
        )
        notes = [_RANDOM if models[model].is_random else '', told.replace('\n', '. ')]
        return str(out), ' '.join(filter(None, notes))

    return segment


def _told(handler: Callable[..., tuple]) -> Callable[..., tuple]:
    """The handler, whose errors become messages on the page."""

    @functools.wraps(handler)
    def run(*values):
        try:
            return handler(*values)
        except OpenVocabError as error:
            raise gr.Error(
                html.escape(str(error), quote=False),
                duration=None,
                print_exception=False,
            ) from error
        except Exception as error:
            reason = html.escape(f'{type(error).__name__}: {error}', quote=False)
            raise gr.Error(reason, duration=None) from error

    return run


def _handler(models: Mapping[str, PageModel], limits: Limits) -> Callable[..., tuple]:
    """What the button does: the values of the fields to result and status."""

    @_told
    def segment(image, classes, model, background, background_score, refine):
        source = _image(image)
        pixels = check_image(source, limits)
        vocabulary = read_words(classes)
        keeps = 4 * pixels * len(vocabulary.rows) <= _LARGEST_SCORES * 2**20
        score = _background_score(background_score) if background else None
        if model not in models:
            raise OpenVocabError(f'There is no model {model!r}: {list(models)}')
        answer = models[model].segment(
            source,
            vocabulary,
            score,
            refine,
            keep_scores=keeps,
        )
        notes = [
            _RANDOM if models[model].is_random else '',
            _times(answer),
            '' if keeps else _NO_SCORES,
            one_class_hint(answer.prediction.vocabulary),
        ]
        view = make_view(answer.prediction, new_folder())
        return view, ' '.join(filter(None, notes))

    return segment


def launch_page(page: gr.Blocks, host: str, port: int | None, limits: Limits) -> str:
    """Serve the page in the background.

    No part of it comes from or tells anything to another machine: no analytics, no
    share link, no fonts from elsewhere, no history.

    Returns:
        The address.

    Raises:
        OSError: The port is taken, or the host is not of this machine.
    """
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        max_file_size=limits.file_bytes,
        css_paths=_HERE / 'page.css',
        theme=gr.themes.Default(
            spacing_size='sm',
            text_size='sm',
            font=['system-ui', 'sans-serif'],
            font_mono=['ui-monospace', 'monospace'],
        ),
    )
    return url


def _image(upload: dict | None) -> ImageSource:
    """The uploaded image.

    Raises:
        ImageError: There is none.
    """
    if not upload or not upload['path']:
        raise ImageError('Choose an image first.')
    return ImageSource(upload['orig_name'] or 'The image', upload['path'])


def _as_text(number: float | None) -> str:
    return '' if number is None else f'{number:g}'


def _background_score(text: str | float) -> float:
    """What people type.

    Raises:
        VocabularyError: It is no number.
    """
    try:
        return float(text)
    except (TypeError, ValueError) as error:
        raise VocabularyError(
            'Type the background score, a number: pixels on which no class scores '
            'higher are background.'
        ) from error


def _times(answer: Answer) -> str:
    height, width = answer.prediction.labels.shape
    text = f'{answer.seconds:.3f} s on {answer.device} for {width} x {height} pixels.'
    if answer.loading_seconds:
        text += f' Loading the model took {answer.loading_seconds:.1f} s.'
    return text
