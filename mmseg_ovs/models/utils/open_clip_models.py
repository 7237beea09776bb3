"""Models of open_clip by name: their description, their weights, their keys.

Only open_clip's public functions are used.
"""

from __future__ import annotations

import difflib
import os
import zipfile
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import CheckpointError, require_finite

_SCHEMES = ('hf-hub:', 'local-dir:')
_HUB_FILES = ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin')
_OWN_FILE = (
    'To give a file: --cfg-options model.backbone.pretrained=FILE '
    'model.text_encoder.pretrained=FILE; mmseg-ovs fetch MODEL lists all files of a '
    'model (docs/weights.md)'
)
_QKV = tuple(f'{part}_proj_weight' for part in 'qkv')


def is_self_contained(name: str) -> bool:
    """Whether a model's name is also the place of its weights."""
    return name.startswith(_SCHEMES)


def named_config(name: str, pretrained: Any = None) -> dict[str, Any]:
    """open_clip's description of a model, with the activation of its weights."""
    import open_clip  # takes seconds, and models without a tower do not need it

    scheme = is_self_contained(name)
    identifier = name if scheme else name.replace('/', '-')
    config = open_clip.get_model_config(identifier)
    if config is None:
        known = open_clip.list_models()
        close = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
        raise ValueError(
            f'open_clip has no model {name!r}; close to it are {close}, and '
            'open_clip.list_models() lists all.'
        )
    if scheme and pretrained is not None:
        raise ValueError(
            f'{name!r} brings its own weights: leave out pretrained={pretrained!r}.'
        )
    tag = open_clip.get_pretrained_cfg(identifier, str(pretrained)) or {}
    # trained with it, which the plain model name does not say
    if tag.get('quick_gelu'):
        config['quick_gelu'] = True
    return config


def pretrained_clip(model: str, pretrained: str | None) -> nn.Module:
    """The whole model with its weights, loaded by open_clip."""
    import open_clip  # takes seconds, and models without a tower do not need it

    if pretrained is not None:
        tags = open_clip.list_pretrained_tags_by_model(model.replace('/', '-'))
        if pretrained not in tags and not os.path.isfile(pretrained):
            raise CheckpointError(
                f'pretrained={pretrained!r} is neither a file nor one of the tags of '
                f'{model!r}: {tags}.'
            )
        _require_hub(model, pretrained)
    try:
        if pretrained is not None and _is_torchscript(pretrained):
            if not open_clip.get_model_config(model).get('quick_gelu'):
                raise ValueError(
                    "OpenAI's archives need the activation QuickGELU: use the model "
                    f'{model}-quickgelu.'
                )
            clip = open_clip.load_openai_model(
                pretrained, precision='fp32', device='cpu'
            )
        else:
            clip = open_clip.create_model(model, pretrained, require_pretrained=True)
    except Exception as error:
        reason = ' '.join(str(error).split())
        raise CheckpointError(
            f'The weights {pretrained or model!r} cannot be loaded into the open_clip '
            f'model {model!r}: {reason.rstrip(".")}. {_OWN_FILE}'
        ) from error
    require_finite(clip.state_dict(), pretrained or model)
    return clip


def _require_hub(model: str, pretrained: str) -> None:
    """Say at once that the Hub is out of reach: open_clip tries for a minute.

    Raises:
        CheckpointError: The weights are not in its cache, and there is no network.
    """
    import open_clip  # takes seconds, and models without a tower do not need it

    from mmseg_ovs.weights import hub  # which imports this package
    from mmseg_ovs.weights.address import HubFile

    known = open_clip.get_pretrained_cfg(model.replace('/', '-'), pretrained) or {}
    repo, _, file = (known.get('hf_hub') or '').rpartition('/')
    names = [file] if file else _HUB_FILES
    files = [HubFile(repo, name) for name in names]
    if not repo or os.path.isfile(pretrained) or any(map(hub.cached, files)):
        return
    try:
        hub.size(files[0])
    except hub.HubError as error:
        if error.no_network:
            raise CheckpointError(
                f'{error} (page: {files[0].page}). {_OWN_FILE}'
            ) from error


def _is_torchscript(path: str) -> bool:
    if not os.path.isfile(path) or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any('/code/' in name for name in archive.namelist())


def join_projections(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Separate weights of queries, keys and values to one, as CLIP stores them.

    CAT-Seg's files have ``attn.q_proj_weight`` and so on in place of
    ``attn.in_proj_weight``.
    """
    state = dict(state)
    for key in [k for k in state if k.endswith(f'.attn.{_QKV[0]}')]:
        attention = key.removesuffix(_QKV[0])
        if all(f'{attention}{part}' in state for part in _QKV):
            parts = [state.pop(f'{attention}{part}') for part in _QKV]
            state[f'{attention}in_proj_weight'] = torch.cat(parts)
    return state
