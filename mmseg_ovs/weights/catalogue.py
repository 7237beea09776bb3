"""The shipped models and whether they can be used, without asking any server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mmengine.config import Config

from mmseg_ovs.benchmark.zoo import Model, Zoo
from mmseg_ovs.composition.names import configs_folder, find_config, read_config_file
from mmseg_ovs.models.utils import parts_at_random
from mmseg_ovs.models.utils.outline import outline_model
from mmseg_ovs.utils import OpenVocabError

from .files import ABSENT, HERE, weight_files

USABLE, ASK, FILE, UNTRAINED, LIBRARY = (
    'can be used now',
    'needs access',
    'needs a file',
    'untrained',
    'needs a library',
)


@dataclass(frozen=True)
class Entry:
    """A model as a line of the list.

    Attributes:
        model: Of the metafile.
        parameters: Numbers in the model, without networks beside it; None: a library
            is missing.
        state: :data:`USABLE`, :data:`ASK`, :data:`FILE`, :data:`UNTRAINED` or
            :data:`LIBRARY`.
        detail: What is downloaded at the first use, is missing, or is random.
    """

    model: Model
    parameters: int | None
    state: str
    detail: str


def catalogue(pattern: str = '') -> Iterator[Entry]:
    """The shipped models whose name, short name or method has ``pattern`` in it."""
    for model in Zoo.read(configs_folder()).models.values():
        names = f'{model.name} {model.alias or ""} {model.collection["Name"]}'
        if pattern.lower() in names.lower():
            yield entry(model)


def entry(model: Model) -> Entry:
    """What is known of a model on this machine."""
    cfg = read_config_file(find_config(model.name))
    try:
        outline = outline_model(cfg.model, cfg.get('default_scope', 'mmseg'))
    except OpenVocabError as error:
        return Entry(model, None, LIBRARY, str(error))
    parameters = sum(value.numel() for value in outline.parameters())
    random = parts_at_random(outline, loaded=bool(cfg.get('load_from')))
    if not random:
        state, detail = _state(model, cfg)
    elif model.has_weights:
        state, detail = FILE, f'a checkpoint with {", ".join(random)} (see the README)'
    else:
        state, detail = UNTRAINED, ', '.join(random)
    return Entry(model, parameters, state, detail)


def _state(model: Model, cfg: Config) -> tuple[str, str]:
    files = weight_files(cfg)
    absent = [file for file in files if file.state == ABSENT]
    if absent:
        state = ASK if model.metadata.get('Gated') else FILE
        return state, ', '.join(file.address for file in absent)
    left = sum(file.state != HERE for file in files)
    return USABLE, f'downloads {left} file{"s" if left > 1 else ""}' if left else ''
