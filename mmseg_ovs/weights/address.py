"""What the address of a checkpoint says: scheme, place in the cache, digest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urldefrag, urlparse

import torch

from mmseg_ovs.utils import OpenVocabError

WEB, HUB = ('http://', 'https://'), 'hf://'
# As torch.hub and OpenMMLab name files: the SHA-256 begins with these digits.
_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.\w+$')
_FRAGMENT = re.compile(r'sha256=([0-9a-fA-F]{8,64})')
_HUB_FORM = 'hf://owner/name/file or hf://owner/name@revision/file'


class AddressError(OpenVocabError):
    """An address that cannot be read."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the Hugging Face Hub.

    Attributes:
        repo: Owner and name.
        file: Path in the repository.
        revision: Branch, tag or commit; None: the main branch.
    """

    repo: str
    file: str
    revision: str | None = None

    @classmethod
    def parse(cls, address: str) -> HubFile:
        """Read ``hf://owner/name[@revision]/file``.

        Raises:
            AddressError: It has another form.
        """
        parts = address.removeprefix(HUB).split('/', 2)
        if len(parts) < 3 or not all(parts):
            raise AddressError(f'{address} is no {_HUB_FORM}')
        owner, name, file = parts
        name, _, revision = name.partition('@')
        return cls(f'{owner}/{name}', file, revision or None)

    @property
    def page(self) -> str:
        """The page on which access is asked for."""
        return f'https://huggingface.co/{self.repo}'


def is_web(address: str) -> bool:
    """Whether an address is one of http or https."""
    return address.startswith(WEB)


def local_path(url: str) -> Path:
    """Where the file of a web address lies once it is downloaded.

    In the folder of ``torch.hub``, under a name of its own: files of one name from two
    addresses are two files.
    """
    url = urldefrag(url).url
    name = Path(urlparse(url).path).name
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    return folder / f'{sha256(url.encode()).hexdigest()[:12]}-{name}'


def published_digest(address: str) -> str | None:
    """First digits of the SHA-256 that an address tells, if it does.

    Either by a fragment, ``https://host/file.pth#sha256=...``, or by the name of the
    file, ``name-08c60483.pth``.

    Raises:
        AddressError: The fragment is something else, which nothing would compare.
    """
    bare, fragment = urldefrag(address)
    if fragment and is_web(address):  # files of one's own may have # in their names
        given = _FRAGMENT.fullmatch(fragment)
        if not given:
            raise AddressError(
                f'{address}: #{fragment} is no #sha256= with 8 to 64 hexadecimal digits'
            )
        return given[1].lower()
    match = _IN_NAME.search(urlparse(bare).path)
    return match[1] if match else None
