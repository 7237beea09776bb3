"""Download a file once, go on where a download stopped, and check what came."""

from __future__ import annotations

import os
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urldefrag
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from mmseg_ovs.jobs import file_digest
from mmseg_ovs.models.utils.recognise import CheckpointError

from . import hub
from .address import HUB, HubFile, local_path, published_digest

_TIMEOUT = 30  # seconds without a byte
_PIECE = 1 << 20
_ELSEWHERE = 'Without a network, download it elsewhere and put it at {path}'


class DownloadError(CheckpointError):
    """A file cannot be downloaded, or is not the published one."""


def local_file(address: str) -> Path:
    """The file of an address (http, https, hf), downloaded if it is not there yet.

    The processes of a machine download it once.

    Raises:
        AddressError: The address has another form.
        DownloadError: Says what is wrong and where the file belongs.
    """
    if address.startswith(HUB):
        try:
            return hub.download(HubFile.parse(address))
        except hub.HubError as error:
            raise DownloadError(str(error)) from error
    path = local_path(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f'{path}.lock'):
        if not path.is_file():
            print(f'Downloading {urldefrag(address).url} to {path}', file=sys.stderr)
            download(address, path)
    return path


def download(address: str, path: Path) -> None:
    """Download an address to a path.

    What came of an interrupted download lies beside it and is gone on with.

    Raises:
        AddressError: Its fragment is no digest.
        DownloadError: Says what is wrong and where the file belongs.
    """
    url, digest = urldefrag(address).url, published_digest(address)
    part, tag = (path.with_name(f'{path.name}.{end}') for end in ('part', 'tag'))
    try:
        _fill(url, part, tag)
    except HTTPError as error:
        raise DownloadError(f'{url}: {web_reason(error)}') from error
    except (OSError, HTTPException) as error:
        there = part.stat().st_size if part.is_file() else 0
        kept = f' {there:,} bytes are kept: repeat the command to go on.'
        raise DownloadError(
            f'{url} cannot be downloaded ({error}).{kept if there else ""} '
            f'{_ELSEWHERE.format(path=path)}'
        ) from error
    check_digest(part, digest, url)
    os.replace(part, path)
    tag.unlink(missing_ok=True)


def _fill(url: str, part: Path, tag: Path) -> None:
    """Download what a partial file lacks, if the server still has the same one."""
    start = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {'Accept-Encoding': 'identity'}
    if start:
        headers.update({'Range': f'bytes={start}-', 'If-Range': tag.read_text()})
    try:
        answer = urlopen(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and start:  # more than there is of it: begin again
            tag.unlink()
            return _fill(url, part, tag)
        raise
    with answer:
        goes_on = answer.status == 206
        start = start if goes_on else 0
        rest = answer.headers.get('Content-Length')
        total = start + int(rest) if rest else None
        mark = answer.headers.get('ETag') or answer.headers.get('Last-Modified')
        if mark and not mark.startswith('W/'):  # weak ones are not for ranges
            tag.write_text(mark)
        else:
            tag.unlink(missing_ok=True)
        with (
            open(part, 'ab' if goes_on else 'wb') as file,
            tqdm(total=total, initial=start, unit='B', unit_scale=True) as bar,
        ):
            while piece := answer.read(_PIECE):
                file.write(piece)
                bar.update(len(piece))
    there = part.stat().st_size
    if total is not None and there != total:
        raise OSError(f'{there:,} of {total:,} bytes came')
    return None


def web_reason(error: HTTPError) -> str:
    """What an answer of a server means for who wants a file."""
    if error.code in (401, 403):
        return f'the server wants permission (HTTP {error.code})'
    if error.code in (404, 410):
        return f'there is no such file (HTTP {error.code})'
    return f'the server answers HTTP {error.code} {error.reason}'


def check_digest(path: Path, digest: str | None, address: str) -> None:
    """Remove a file whose SHA-256 does not begin with the published digits.

    Raises:
        DownloadError: It does not.
    """
    if digest is None:
        return
    found = file_digest(path)
    if not found.startswith(digest):
        path.unlink()
        raise DownloadError(
            f'{address}: SHA-256 {found[: len(digest)]} instead of the published '
            f'{digest}. The file was damaged or replaced, and is removed: download it '
            'again, or ask its publisher'
        )
