"""Images and words to click, of which none comes from elsewhere."""

from __future__ import annotations

from pathlib import Path

from gradio.media import MEDIA_ROOT
from PIL import Image

from mmseg_ovs.datasets.shapes import compose_scene, render_scene

_PHOTOS = {  # of Gradio; a release without one has an example less
    'lion.jpg': 'lion\nrock',
    'cheetah.jpg': 'cheetah\ngrass',
    'tower.jpg': 'tower\nsky\nbranch',
}
_SCENE = 'pink disc\nyellow arrow\ngreen cross\ndotted green ground'


def make_examples(folder: Path) -> list[list[str]]:
    """Path and words of each example.

    Args:
        folder: For the image that is drawn.
    """
    scene = folder / 'shapes.png'
    image, _ = render_scene(compose_scene(0, 'test', 0))
    Image.fromarray(image).save(scene)
    paths = {MEDIA_ROOT / 'images' / name: words for name, words in _PHOTOS.items()}
    paths[scene] = _SCENE
    return [[str(path), words] for path, words in paths.items() if path.is_file()]
