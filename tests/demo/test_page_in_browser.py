"""The running page, as people see it, in a real browser."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

SCREENSHOTS = Path(__file__).resolve().parents[2] / 'tests_out' / 'page'
# Of a browser on a busy machine, in milliseconds.
PATIENCE = 180_000
LAPTOP, PHONE = dict(width=1366, height=768), dict(width=390, height=844)


@pytest.fixture(scope='module')
def context(browser):
    """A session of one person; every request that its pages make is noted."""
    with browser.new_context(viewport=LAPTOP) as context:
        context.set_default_timeout(PATIENCE)
        context.requested = []
        context.on('request', lambda request: context.requested.append(request.url))
        yield context


@pytest.fixture(scope='module')
def page(context, server):
    """The page, loaded once; tests set all that they look at."""
    page = context.new_page()
    mistakes = []
    page.on('pageerror', lambda error: mistakes.append(str(error)))
    page.on('websocket', lambda socket: context.requested.append(socket.url))
    page.goto(server.url)
    yield page
    assert not mistakes


def upload(page, path: Path) -> None:
    """Put an image into the box, in place of the one there."""
    shown = page.get_by_alt_text('the uploaded image')
    if shown.count():
        page.get_by_label('Remove Image').click()
        shown.wait_for(state='detached')
    page.locator('input[type=file]').set_input_files(path)


def press(page) -> None:
    # Attached: a damaged file is shown by nothing.
    page.get_by_alt_text('the uploaded image').wait_for(state='attached')
    page.get_by_role('button', name='Segment', exact=True).click()


def names(page) -> list[str]:
    """The classes named below the result, without their shares."""
    texts = page.locator('.legend button').all_inner_texts()
    return [text.split('\n')[0] for text in texts]


def segment(page, words: str) -> None:
    """Type, press, and wait for a mask of every word and no other."""
    page.get_by_label('Classes').fill(words)
    press(page)
    page.wait_for_function(
        """expected => [...document.querySelectorAll('.legend button')]
            .map(button => button.childNodes[1].textContent)
            .filter(name => name !== 'background').sort().join() === expected""",
        arg=','.join(sorted(words.splitlines())),
    )


def shown(page) -> list[list[int]]:
    """Colour and opacity at the centres of the three stripes."""
    return page.evaluate(
        """() => [12, 36, 60].map(x => [...document.querySelector('.masks')
            .getContext('2d').getImageData(x, 10, 1, 1).data])"""
    )


def colour_of(page, name: str) -> list[int]:
    """Of a class in the legend, opaque."""
    patch = page.locator('.legend button', has_text=name).locator('i')
    text = patch.evaluate('patch => getComputedStyle(patch).backgroundColor')
    return [int(number) for number in re.findall(r'\d+', text)] + [255]


def pointed_at(page, share: float, height: float = 0.3) -> str:
    """What is said of a point of the image, at a share of its width and height."""
    box = page.locator('.stage').bounding_box()
    x, y = box['x'] + share * box['width'], box['y'] + height * box['height']
    page.mouse.move(x, y)
    return page.locator('.tip').inner_text()


def in_view(page, *locators) -> bool:
    size = page.viewport_size
    boxes = [locator.bounding_box() for locator in locators]
    return page.evaluate('scrollY') == 0 and all(
        box['x'] >= 0
        and box['y'] >= 0
        and box['x'] + box['width'] <= size['width']
        and box['y'] + box['height'] <= size['height']
        for box in boxes
    )


def test_a_mask_changes_when_a_word_changes(page, image):
    upload(page, image)
    segment(page, 'blue\nred')
    red, blue, other = shown(page)
    assert red == colour_of(page, 'red') and blue == colour_of(page, 'blue') != red
    page.screenshot(path=SCREENSHOTS / 'two_words.png', full_page=True)
    segment(page, 'blue\nred\ngreen')
    assert shown(page) == [red, blue, colour_of(page, 'green')]
    assert other in (red, blue)
    page.screenshot(path=SCREENSHOTS / 'three_words.png', full_page=True)
    assert 's on cpu for 72 x 32 pixels' in page.inner_text('body')


def test_result_and_controls_are_in_view_on_a_laptop(page, image):
    upload(page, image)
    segment(page, 'blue\nred\ngreen')
    examples = page.locator('.gallery-item').all()
    parts = [page.get_by_role('button', name='Segment', exact=True), *examples]
    parts += [page.locator(f'.{name}') for name in ('stage', 'legend', 'files')]
    parts += [page.get_by_label(name) for name in ('Classes', 'Model', 'Opacity')]
    parts += [page.get_by_label('Background score'), page.get_by_text(' s on cpu for ')]
    assert in_view(page, *parts)
    assert page.locator('.stage').bounding_box()['width'] > 700


def test_on_a_phone_nothing_is_cut_off(context, server, image):
    with context.browser.new_context(viewport=PHONE, has_touch=True) as phone:
        phone.set_default_timeout(PATIENCE)
        page = phone.new_page()
        page.goto(server.url)
        upload(page, image)
        segment(page, 'blue\nred\ngreen')
        page.wait_for_function(  # it scrolls there
            """() => document.querySelector('.legend')
                .getBoundingClientRect().bottom <= innerHeight"""
        )
        assert page.evaluate('document.documentElement.scrollWidth') == PHONE['width']
        page.locator('.stage').tap(position=dict(x=10, y=10))
        assert page.locator('.tip').inner_text().startswith('red ')
        page.screenshot(path=SCREENSHOTS / 'phone.png')


def test_class_and_score_under_the_pointer(page, image):
    upload(page, image)
    segment(page, 'blue\nred\ngreen')
    said = [pointed_at(page, share) for share in (0.1, 0.5, 0.9)]
    assert [text.split()[0] for text in said] == ['red', 'blue', 'green']
    assert all(abs(float(text.split()[1]) - 1) < 0.01 for text in said)
    page.mouse.move(1, 1)
    assert page.locator('.tip').is_hidden()


def test_pointing_at_a_name_shows_its_mask_alone(page, image):
    upload(page, image)
    segment(page, 'blue\nred\ngreen')
    clear = [0, 0, 0, 0]
    for _ in range(20):  # Gradio may tell of one result twice, and draw it anew
        page.mouse.move(1, 1)
        page.locator('.legend button', has_text='blue').hover()
        if alone := shown(page) == [clear, colour_of(page, 'blue'), clear]:
            break
        page.wait_for_timeout(200)
    assert alone
    page.screenshot(path=SCREENSHOTS / 'one_class_alone.png', full_page=True)
    page.mouse.move(1, 1)
    assert clear not in shown(page)
    label = page.get_by_role('img', name='masks of').get_attribute('aria-label')
    assert set(label.removeprefix('masks of ').split(', ')) == {'red', 'blue', 'green'}


def test_opacity(page, image):
    upload(page, image)
    segment(page, 'red')
    masks = page.locator('.masks')
    for value in ('20', '60'):
        page.get_by_label('Opacity').fill(value)
        opacity = masks.evaluate('masks => getComputedStyle(masks).opacity')
        assert float(opacity) == int(value) / 100


def test_downloads(page, image, tmp_path):
    upload(page, image)
    segment(page, 'blue\nred\ngreen')
    names = ('mask.png', 'overlay.jpg', 'scores.npz')
    for link, name in zip(page.locator('.files a').all(), names, strict=True):
        with page.expect_download() as download:
            link.click()
        assert download.value.suggested_filename == f'stripes-{name}'
        download.value.save_as(tmp_path / name)
    labels = np.array(Image.open(tmp_path / 'mask.png'))
    assert labels[10, 12::24].tolist() == [1, 0, 2]


def test_an_example_fills_image_and_classes(page):
    page.locator('.gallery-item').last.click()
    classes = page.get_by_label('Classes')
    page.wait_for_function(
        'box => box.value.startsWith("pink disc")', arg=classes.element_handle()
    )
    press(page)  # this model knows other words: the image was taken
    page.get_by_text('no text embeddings for').wait_for()


def test_background(page, image):
    upload(page, image)
    background = page.get_by_label('Background', exact=True)
    background.check()
    page.get_by_label('Background score').fill('0.4')
    segment(page, 'red')
    clear = [0, 0, 0, 0]
    assert shown(page) == [colour_of(page, 'red'), clear, clear]
    assert sorted(names(page)) == ['background', 'red']
    background.uncheck()
    segment(page, 'green')
    assert shown(page) == [colour_of(page, 'green')] * 3


def test_refinement_and_background_score_follow_the_model(page):
    refine, score = page.get_by_label('Refine masks'), page.get_by_label('Background s')
    rows = (('refined colours', True, '0.4'), ('colours', False, ''))
    for name, refines, value in rows:
        page.get_by_label('Model').click()
        page.get_by_role('option', name=name, exact=True).click()
        page.wait_for_function(
            """([box, refines, score, value]) =>
                box.checked === refines && score.value === value""",
            arg=[refine.element_handle(), refines, score.element_handle(), value],
        )


def test_what_is_wrong_is_told_until_the_next_result(page, image, tmp_path):
    half = tmp_path / 'half.png'
    half.write_bytes(image.read_bytes()[:90])
    upload(page, half)
    page.get_by_label('Classes').fill('red')
    press(page)
    message = page.get_by_text('half.png is damaged')
    message.wait_for()
    # An earlier result would be beside it.
    for part in (page.get_by_text(' s on cpu for '), page.locator('.stage')):
        part.wait_for(state='hidden')
    page.wait_for_timeout(1000)  # it fades in
    assert message.is_visible()
    page.screenshot(path=SCREENSHOTS / 'damaged_file.png', full_page=True)
    upload(page, image)
    segment(page, 'red\nblue')
    message.wait_for(state='detached')


def test_ten_thousand_names_are_told_and_forgotten(page, image):
    upload(page, image)
    page.get_by_label('Classes').evaluate(  # to type it, any text box takes minutes
        """(box, text) => {
            box.value = text;
            box.dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        '\n'.join(map(str, range(10_000))),
    )
    press(page)
    message = page.get_by_text('10000 names are more than the 500 that this page takes')
    message.wait_for()
    assert in_view(page, page.get_by_role('button', name='Segment', exact=True))
    segment(page, 'red\nblue')
    message.wait_for(state='detached')


def test_a_file_that_is_too_large_is_told(page, tmp_path):
    path = tmp_path / 'large.bmp'
    Image.new('RGB', (300, 300)).save(path)
    upload(page, path)
    page.get_by_text('exceed the maximum allowed size').first.wait_for()


def test_everything_came_from_this_machine(page, context):
    """Scripts, styles, fonts, images: whatever the tests above made it ask for."""
    hosts = {urlsplit(u).hostname for u in context.requested if urlsplit(u).hostname}
    assert hosts == {'127.0.0.1'}
    assert any(url.endswith('.js') for url in context.requested)
