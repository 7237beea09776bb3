"""Images at addresses of the web."""

from __future__ import annotations

from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from mmseg_ovs.version import __version__

from .image_check import RefusedImageError

# Some servers refuse Python's own name.
_HEADERS = {'User-Agent': f'mmseg_ovs/{__version__}', 'Accept': 'image/*'}
_SECONDS = 30
_LARGEST = 2**30  # bytes


def is_web_address(path: str) -> bool:
    """Whether it starts with ``http://`` or ``https://``."""
    return path.lower().startswith(('http://', 'https://'))


def download_image(address: str) -> bytes:
    """The bytes of an image at an address.

    Raises:
        RefusedImageError: It cannot be reached in 30 seconds, is a page or a text, or
            has more than 1 GiB.
    """
    try:
        with urlopen(Request(address, headers=_HEADERS), timeout=_SECONDS) as response:
            kind = response.headers.get_content_type()
            if kind.startswith('text/'):
                raise RefusedImageError(
                    f'there is no image but {kind}: give the address of the image '
                    'itself, not of the page that shows it'
                )
            content = response.read(_LARGEST + 1)
    except RefusedImageError:
        raise
    except HTTPError as error:
        raise RefusedImageError(
            f'the server answers {error.code} {error.reason}'
        ) from error
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, 'reason', error)
        raise RefusedImageError(f'it cannot be reached ({reason})') from error
    if len(content) > _LARGEST:
        raise RefusedImageError('it has more than 1 GiB')
    return content
