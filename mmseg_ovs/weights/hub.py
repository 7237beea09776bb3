"""Files of the Hugging Face Hub, in its own cache (``HF_HOME``)."""

from __future__ import annotations

import re
from pathlib import Path
from socket import gaierror

from mmseg_ovs.jobs import file_digest
from mmseg_ovs.utils import OpenVocabError

from .address import HubFile


class HubError(OpenVocabError):
    """A file of the Hub cannot be had.

    Attributes:
        needs_access: Whether access has to be asked for.
        no_network: Whether the Hub could not be reached.
    """

    def __init__(
        self, message: str, needs_access: bool = False, no_network: bool = False
    ) -> None:
        super().__init__(message)
        self.needs_access = needs_access
        self.no_network = no_network


def cached(file: HubFile) -> Path | None:
    """Where a file lies in the cache, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(file.repo, file.file, revision=file.revision)
    return Path(found) if isinstance(found, str) else None


def size(file: HubFile) -> int | None:
    """Bytes of a file, asked of the Hub.

    Raises:
        HubError: It is gated, missing, or the Hub cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(file.repo, file.file, revision=file.revision)
        return get_hf_file_metadata(url, token=None).size
    except Exception as error:
        raise _explained(file, error) from error


def download(file: HubFile) -> Path:
    """The file in the cache, downloaded if it is not there; resumes.

    Raises:
        HubError: It is gated, missing, damaged, or the Hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    if path := cached(file):
        return path
    size(file)  # fails at once without a network; the Hub's library tries for long
    try:
        path = hf_hub_download(file.repo, file.file, revision=file.revision)
    except Exception as error:
        raise _explained(file, error) from error
    check(file, Path(path))
    return Path(path)


def check(file: HubFile, path: Path) -> None:
    """Remove a file of the cache that is not what the Hub says it is.

    Raises:
        HubError: The Hub tells another SHA-256, which names the file in the cache.
    """
    blob = path.resolve()
    if not re.fullmatch(r'[0-9a-f]{64}', blob.name):
        return  # a small file, or a system without links
    if (found := file_digest(blob)) != blob.name:
        path.unlink()
        blob.unlink()
        raise HubError(
            f'{file.repo}/{file.file}: SHA-256 {found[:8]} instead of the published '
            f'{blob.name[:8]}. The file was damaged, and is removed: download it again'
        )


def _explained(file: HubFile, error: Exception) -> HubError:
    """The Hub's error as one line for who wants the file."""
    from huggingface_hub import errors

    place = f'hf://{file.repo}/{file.file}'
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f'{place} needs access: ask for it at {file.page}, then log in with '
            '"hf auth login" or set HF_TOKEN',
            needs_access=True,
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f'{place}: there is no repository {file.repo}, or it is private and needs '
            '"hf auth login" or HF_TOKEN'
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f'{place}: {file.repo} has no revision {file.revision}')
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return HubError(f'{place}: {file.repo} has no file {file.file}')
    reason = ' '.join(str(error).split())[:200]
    return HubError(
        f'{place} cannot be downloaded ({type(error).__name__}: {reason}). Without a '
        'network, download it elsewhere and give its path instead',
        no_network=_not_reached(error),
    )


def _not_reached(error: BaseException | None) -> bool:
    """Whether a connection failed; its library wraps the system's error."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError | gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
