"""The running page, as people see it, in a real browser."""

import io
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

SCREENSHOTS = Path(__file__).resolve().parents[2] / 'tests_out' / 'page'
# Of a browser on a busy machine, in milliseconds.
PATIENCE = 180_000


@pytest.fixture(scope='module')
def context(browser):
    """A session of one person; every request that its pages make is noted."""
    with browser.new_context(viewport=dict(width=1100, height=1000)) as context:
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
    texts = page.locator('.legend-item').all_inner_texts()
    return [text.rsplit(' (', 1)[0] for text in texts]


def segment(page, words: str) -> None:
    """Type, press, and wait for a mask of every word and no other."""
    page.get_by_label('Classes').fill(words)
    press(page)
    page.wait_for_function(
        """expected => [...document.querySelectorAll('.legend-item')]
            .map(item => item.innerText.replace(/ \\(.*/, ''))
            .filter(name => name !== 'background').sort().join() === expected""",
        arg=','.join(sorted(words.splitlines())),
    )


def masks(page) -> dict[str, list[bool]]:
    """Whether the mask of each class covers the centres of the three stripes."""
    found = {}
    shown = page.locator('img.mask').all()
    for name, mask in zip(names(page), shown, strict=True):
        content = page.request.get(mask.get_attribute('src')).body()
        opacity = np.array(Image.open(io.BytesIO(content)))[..., 3]
        found[name] = (opacity[10, 12::24] > 0).tolist()
    return found


def test_a_mask_changes_when_a_word_changes(page, image):
    upload(page, image)
    segment(page, 'blue\nred')
    blue, red = masks(page)['blue'], masks(page)['red']
    assert blue[:2] == [False, True] and red[:2] == [True, False]
    page.screenshot(path=SCREENSHOTS / 'two_words.png', full_page=True)
    segment(page, 'blue\nred\ngreen')
    assert masks(page) == {
        'red': [True, False, False],
        'blue': [False, True, False],
        'green': [False, False, True],
    }
    page.screenshot(path=SCREENSHOTS / 'three_words.png', full_page=True)
    assert 's on cpu for 72 x 32 pixels' in page.inner_text('body')


def test_pointing_at_a_name_shows_its_mask_alone(page, image):
    upload(page, image)
    segment(page, 'blue\nred\ngreen')
    page.locator('.legend-item').nth(1).hover()
    page.wait_for_function(
        """() => [...document.querySelectorAll('img.mask')]
            .map(mask => getComputedStyle(mask).opacity).join() === '0,1,0'"""
    )
    page.screenshot(path=SCREENSHOTS / 'one_class_alone.png', full_page=True)
    texts = {mask.get_attribute('alt') for mask in page.locator('img.mask').all()}
    assert texts == {
        'segmentation mask identifying classes found within the uploaded file'
    }


def test_background(page, image):
    upload(page, image)
    background = page.get_by_label('Background', exact=True)
    background.check()
    page.get_by_label('Background score').fill('0.4')
    segment(page, 'red')
    assert masks(page) == {
        'red': [True, False, False],
        'background': [False, True, True],
    }
    background.uncheck()
    segment(page, 'green')
    assert masks(page) == {'green': [True, True, True]}


def test_refinement_follows_the_model(page):
    refine = page.get_by_label('Refine masks')
    for name, refines in (('refined colours', True), ('colours', False)):
        page.get_by_label('Model').click()
        page.get_by_role('option', name=name, exact=True).click()
        page.wait_for_function(
            '([box, refines]) => box.checked === refines',
            arg=[refine.element_handle(), refines],
        )


def test_what_is_wrong_is_told(page, image, tmp_path):
    half = tmp_path / 'half.png'
    half.write_bytes(image.read_bytes()[:90])
    upload(page, half)
    page.get_by_label('Classes').fill('red')
    press(page)
    message = page.get_by_text('half.png is damaged')
    message.wait_for()
    # The time of an earlier image would be beside it.
    page.get_by_text(' s on cpu for ').wait_for(state='hidden')
    page.wait_for_timeout(1000)  # it fades in
    assert message.is_visible()
    page.screenshot(path=SCREENSHOTS / 'damaged_file.png', full_page=True)


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
