"""The files whose weights a model needs, as its config names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urldefrag
from urllib.request import Request, urlopen

from filelock import FileLock
from mmengine.config import Config

from . import hub
from .address import HUB, HubFile, is_web, local_path, published_digest
from .download import DownloadError, check_digest, download, local_file, web_reason

HERE, REMOTE, ABSENT = 'here', 'to download', 'to get by hand'
_TIMEOUT = 15  # seconds until a server counts as not reached
_META = 'https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/'
# Where files come from that nobody may download without asking.
_ASK = {'dinov3_': f'{_META} (Meta grants access on request)'}
# Parts of a config that only training needs, and those that no checkpoint holds.
_TRAINING, _OUTSIDE = {'auxiliary_head'}, {'proxy', 'graph'}


@dataclass(frozen=True)
class WeightFile:
    """A file that a part of a model loads.

    Attributes:
        part: Place of the part in the config, such as ``'backbone'``, or several.
        address: Path, or address (http, https, hf).
        option: The setting that names it, for ``--cfg-options``; of several the last
            lacks ``=FILE``.
    """

    part: str
    address: str
    option: str

    @property
    def url(self) -> str:
        """The address without what it says of the digest."""
        return urldefrag(self.address).url

    @property
    def path(self) -> Path | None:
        """Where it lies or will lie; None: in the Hub's cache, and not there yet."""
        if self.address.startswith(HUB):
            return hub.cached(HubFile.parse(self.address))
        return local_path(self.address) if is_web(self.address) else Path(self.address)

    @property
    def state(self) -> str:
        """:data:`HERE`, :data:`REMOTE` or :data:`ABSENT`; asks no server."""
        if self.path is not None and self.path.is_file():
            return HERE
        return REMOTE if '://' in self.address else ABSENT

    @property
    def source(self) -> str:
        """Where people get it."""
        if self.address.startswith(HUB):
            return HubFile.parse(self.address).page
        name = Path(self.address).name
        asked = [place for start, place in _ASK.items() if name.startswith(start)]
        if asked:
            return asked[0]
        return self.url if '://' in self.address else 'see the README of the config'

    def ask(self) -> int | None:
        """Bytes of a file that is not here, as its server says.

        Raises:
            DownloadError: It is gated, missing, or the server cannot be reached.
        """
        try:
            if self.address.startswith(HUB):
                return hub.size(HubFile.parse(self.address))
            request = Request(self.url, method='HEAD')
            with urlopen(request, timeout=_TIMEOUT) as answer:
                length = answer.headers.get('Content-Length')
                return int(length) if length else None
        except HTTPError as error:
            raise DownloadError(f'{self.url}: {web_reason(error)}') from error
        except hub.HubError as error:
            raise DownloadError(str(error)) from error
        except OSError as error:
            raise DownloadError(f'{self.url} cannot be reached ({error})') from error

    def check(self) -> None:
        """Look at a file that is here: its size where that is told, and its digest.

        What was downloaded and is not the published file is removed.

        Raises:
            DownloadError: It is another one.
        """
        if self.address.startswith(HUB):
            try:
                hub.check(HubFile.parse(self.address), self.path)
            except hub.HubError as error:
                raise DownloadError(str(error)) from error
            return
        digest = published_digest(self.address)
        if not is_web(self.address):
            self._check_own(digest)
        elif digest:
            check_digest(self.path, digest, self.url)
        elif (size := self._size_or_none()) and size != self.path.stat().st_size:
            there = self.path.stat().st_size
            self.path.unlink()
            raise DownloadError(
                f'{self.address}: {there:,} of {size:,} bytes are here; the file is '
                'removed: download it again'
            )

    def _check_own(self, digest: str | None) -> None:
        """A file that somebody has put there is not removed."""
        from mmseg_ovs.jobs import file_digest

        if digest and not (found := file_digest(self.path)).startswith(digest):
            raise DownloadError(
                f'{self.address}: SHA-256 {found[: len(digest)]} instead of the '
                f'published {digest}: download it again'
            )

    def _size_or_none(self) -> int | None:
        try:
            return self.ask()
        except DownloadError:  # without a network nothing is known
            return None

    def fetch(self) -> Path:
        """Download it; resumes, and checks what came.

        Raises:
            DownloadError: It cannot be had, or is not the published file.
        """
        if is_web(self.address):
            path = local_path(self.address)
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f'{path}.lock'):
                download(self.address, path)
            return path
        return local_file(self.address)


def weight_files(cfg: Config) -> list[WeightFile]:
    """The files that inference with a config's model loads, each once.

    With a ``load_from`` that is the checkpoint, and the files of networks beside the
    model, which no checkpoint holds.
    """
    whole = cfg.get('load_from')
    found = [WeightFile('the whole model', str(whole), 'load_from')] if whole else []
    for file in _walk(cfg.model, 'model'):
        outside = _OUTSIDE & set(file.option.split('.'))
        if not whole or outside:
            found.append(file)
    files: dict[str, WeightFile] = {}
    for file in found:
        if first := files.get(file.address):  # CLIP's towers: two settings, one file
            file = replace(
                first,
                part=f'{first.part}, {file.part}',
                option=f'{first.option}=FILE {file.option}',
            )
        files[file.address] = file
    return list(files.values())


def _walk(value: Any, place: str) -> Iterator[WeightFile]:
    """Files that are named anywhere in the config of a model."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _walk(item, f'{place}.{index}')
        return
    if not isinstance(value, Mapping):
        return
    part = place.removeprefix('model.').removesuffix('.init_cfg')
    part = 'the whole model' if part == 'model' else part
    if value.get('type') == 'Pretrained':
        yield WeightFile(part, str(value['checkpoint']), f'{place}.checkpoint')
    elif address := _clip_address(value):
        yield WeightFile(part, address, f'{place}.pretrained')
    for key, item in value.items():
        if key not in _TRAINING:
            yield from _walk(item, f'{place}.{key}')


def _clip_address(cfg: Mapping[str, Any]) -> str | None:
    """Where open_clip takes the weights of a tower from, if the config is of one."""
    model, tag = cfg.get('model'), cfg.get('pretrained')
    if not (isinstance(model, str) and isinstance(tag, str)):
        return None
    import open_clip  # takes seconds

    known = open_clip.get_pretrained_cfg(model.replace('/', '-'), tag)
    if not known:
        return tag  # a file
    if known.get('hf_hub'):
        repo, _, file = known['hf_hub'].rpartition('/')
        # the name that open_clip asks for first
        return f'{HUB}{repo}/{file or "open_clip_model.safetensors"}'
    return known['url']
