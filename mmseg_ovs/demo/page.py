"""The page itself, in Gradio: what people see, and what happens when they press."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping

import gradio as gr

from mmseg_ovs.apis import ImageError, ImageSource
from mmseg_ovs.apis.one_class import one_class_hint
from mmseg_ovs.utils import OpenVocabError

from .images import Limits, check_image
from .models import Answer, PageModel
from .overlay import make_overlay
from .words import read_words

# Uploads and overlays are deleted an hour after they were made.
_CLEANING = (600, 3600)
_NO_RESULT = 'Choose an image, type classes, press *Segment*.'
_HOVER = 'Hover over a name to see only its mask.'


def build_page(models: Mapping[str, PageModel], limits: Limits) -> gr.Blocks:
    """Lay out the page.

    Args:
        models: The models to choose from by name, at least one.
        limits: Of the images that are taken.
    """
    with gr.Blocks(
        title='mmseg_ovs', analytics_enabled=False, delete_cache=_CLEANING
    ) as page:
        gr.Markdown('# Segment an image by words')
        with gr.Row():
            with gr.Column():
                fields = _fields(models, limits)
                button = gr.Button('Segment', variant='primary')
            with gr.Column():
                # The label is a part of the masks' alternative text.
                shown = gr.AnnotatedImage(label='classes found')
                status = gr.Markdown(_NO_RESULT)
        pressed = button.click(
            _handler(models, limits),
            fields,
            [shown, status],
            # As uploaded (Gradio has checked that it was): a file that is no image
            # would end in Gradio's own preprocessing, without a word about it.
            preprocess=False,
            show_progress_on=shown,
            concurrency_limit=limits.requests,
            api_name='segment',
        )
        pressed.failure(  # the message stays until it is closed; times are another's
            lambda: '',
            outputs=status,
            show_progress='hidden',
            api_visibility='private',
        )
    return page


def _fields(models: Mapping[str, PageModel], limits: Limits) -> list[gr.Component]:
    """Lay out what the user fills in, in the order of the arguments of the handler."""
    names = list(models)
    upload = gr.Image(
        label=f'Image (up to {limits.megabytes:g} MB, '
        f'{limits.megapixels:g} megapixels)',
        sources=['upload', 'clipboard'],
        type='filepath',
        image_mode=None,
        height=320,
        alt_text='the uploaded image',
    )
    words = gr.Textbox(
        label='Classes',
        info='One class per line. Commas separate synonyms.',
        placeholder='building, edifice\ntree\nroad',
        lines=5,
        max_lines=12,
    )
    model = gr.Dropdown(names, value=names[0], label='Model')
    with gr.Row():
        has_background = gr.Checkbox(
            label='Background',
            info='Pixels on which no class scores higher are left out.',
        )
        score = gr.Number(
            0.5,
            label='Background score',
            info='The right value depends on the model.',
        )
    refine = gr.Checkbox(
        value=models[names[0]].refines,
        label='Refine masks',
        info='Aligns mask borders with image edges; slower.',
    )
    model.change(
        lambda name: models[name].refines,
        model,
        refine,
        show_progress='hidden',
        api_visibility='private',
    )
    return [upload, words, model, has_background, score, refine]


def _handler(models: Mapping[str, PageModel], limits: Limits) -> Callable[..., tuple]:
    """What the button does: the values of the fields to masks and a line of status."""

    def segment(upload, words, model, has_background, score, refine):
        try:
            image = _image(upload, limits)
            vocabulary = read_words(words)
            answer = models[model].segment(
                image, vocabulary, score if has_background else None, refine
            )
        except OpenVocabError as error:
            raise gr.Error(
                html.escape(str(error)), duration=None, print_exception=False
            ) from error
        except Exception as error:
            reason = html.escape(f'{type(error).__name__}: {error}')
            raise gr.Error(reason, duration=None) from error
        classes = answer.vocabulary.classes
        overlay = make_overlay(answer.image, answer.labels, classes, answer.palette)
        shown = gr.AnnotatedImage(
            (overlay.image, overlay.masks), color_map=overlay.colours
        )
        hint = one_class_hint(answer.vocabulary) or _HOVER
        return shown, f'{_times(answer)} {hint}'

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
        theme=gr.themes.Default(
            font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']
        ),
    )
    return url


def _image(upload: dict | None, limits: Limits) -> ImageSource:
    """The uploaded image, checked.

    Raises:
        ImageError: There is none, or it is not taken.
    """
    if not upload or not upload['path']:
        raise ImageError('Choose an image first.')
    source = ImageSource(upload['orig_name'] or 'The image', upload['path'])
    check_image(source, limits)
    return source


def _times(answer: Answer) -> str:
    height, width = answer.labels.shape
    text = f'{answer.seconds:.3f} s on {answer.device} for {width} x {height} pixels.'
    if answer.loading_seconds:
        text += f' Loading the model took {answer.loading_seconds:.1f} s.'
    return text
