"""Published layouts of DINO checkpoints, recognised by their keys.

Every function returns Meta's layout, which is ours. Only keys that no output depends on
are left out: ``mask_token`` (pre-training), ``local_cls_norm`` (local crops in
pre-training) and DINOv3's ``bias_mask``, which is folded into the bias.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

State = dict[str, Tensor]

_UNUSED = re.compile(r'^(mask_token|embeddings\.mask_token|local_cls_norm\..*)$')

# Hugging Face: hub files and transformers >= 5 name some parts differently.
_HF_RENAMES = [
    (r'^(dinov2|dinov2_with_registers|dinov3_vit)\.', ''),
    (r'^embeddings\.cls_token$', 'cls_token'),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^embeddings\.patch_embeddings\.(projection\.)?', 'patch_embed.proj.'),
    (r'^(encoder|model)\.layer\.', 'blocks.'),
    (r'^layer\.', 'blocks.'),
    (r'\.attention\.attention\.(query|key|value)\.', r'.attn.\1.'),
    (r'\.attention\.([qkv])_proj\.', r'.attn.\1.'),
    (r'\.attention\.(o_proj|output\.dense)\.', '.attn.proj.'),
    (r'\.attn\.query\.', '.attn.q.'),
    (r'\.attn\.key\.', '.attn.k.'),
    (r'\.attn\.value\.', '.attn.v.'),
    (r'\.layer_scale([12])\.lambda1$', r'.ls\1.gamma'),
    (r'\.mlp\.weights_in\.', '.mlp.w12.'),
    (r'\.mlp\.weights_out\.', '.mlp.w3.'),
    (r'^layernorm\.', 'norm.'),
]


def _rename(state: State, rules: Iterable[tuple[str, str]]) -> State:
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def _drop_unused(state: State) -> State:
    """Leave out what is unused, and number blocks that were trained in chunks."""
    return {
        re.sub(r'^blocks\.\d+\.(?=\d+\.)', 'blocks.', k): v
        for k, v in state.items()
        if not _UNUSED.match(k)
    }


def _is_hugging_face(state: State) -> bool:
    return any('embeddings.cls_token' in key for key in state)


def _join_qkv(state: State, bias: bool) -> State:
    """Join separate q, k and v of Hugging Face; an absent bias is zero."""
    state = dict(state)
    blocks = {m[1] for k in state if (m := re.match(r'(blocks\.\d+\.attn)\.q\.', k))}
    for block in blocks:
        weights = [state.pop(f'{block}.{part}.weight') for part in 'qkv']
        state[f'{block}.qkv.weight'] = torch.cat(weights)
        biases = [state.pop(f'{block}.{part}.bias', None) for part in 'qkv']
        if bias:
            zero = torch.zeros(len(weights[0]), dtype=weights[0].dtype)
            biases = [zero if b is None else b for b in biases]
            state[f'{block}.qkv.bias'] = torch.cat(biases)
    return state


def _join_pairs(state: State, first: str, second: str, joined: str) -> State:
    """Concatenate the rows of ``mlp.<first>`` and ``mlp.<second>``."""
    state = dict(state)
    for key in [k for k in state if f'.mlp.{first}.' in k]:
        other = key.replace(f'.mlp.{first}.', f'.mlp.{second}.')
        target = key.replace(f'.mlp.{first}.', f'.mlp.{joined}.')
        state[target] = torch.cat([state.pop(key), state.pop(other)])
    return state


def dinov2_state_dict(state: State) -> State:
    """DINOv2 weights of Meta, timm or Hugging Face in Meta's layout."""
    state = _drop_unused(state)
    if _is_hugging_face(state):
        rules = [*_HF_RENAMES, (r'^embeddings\.register_tokens$', 'register_tokens')]
        state = _join_qkv(_rename(state, rules), bias=True)
        state = _join_pairs(state, 'gate_proj', 'up_proj', 'w12')
        return _rename(state, [(r'\.mlp\.down_proj\.', '.mlp.w3.')])
    if 'reg_token' in state:  # timm folds the class position into the class token
        state = _rename(state, [(r'^reg_token$', 'register_tokens')])
        positions = state['pos_embed']
        zero = torch.zeros_like(positions[:, :1])
        state['pos_embed'] = torch.cat([zero, positions], dim=1)
    # timm packs a SwiGLU as fc1 (gate and value) and fc2: fc1 has twice fc2's columns
    fc1, fc2 = (state.get(f'blocks.0.mlp.{fc}.weight') for fc in ('fc1', 'fc2'))
    if fc1 is not None and fc2 is not None and fc1.shape[0] == 2 * fc2.shape[1]:
        rules = [(r'\.mlp\.fc1\.', '.mlp.w12.'), (r'\.mlp\.fc2\.', '.mlp.w3.')]
        state = _rename(state, rules)
    return state


def dinov3_state_dict(state: State, periods: Tensor, qkv_bias: bool) -> State:
    """DINOv3 weights of Meta, timm or Hugging Face in Meta's layout.

    Args:
        state: Published state dict.
        periods: Rotary periods by the formula, for layouts that do not store them.
        qkv_bias: Whether the target has a bias for q, k and v. timm leaves the
            published zero biases out; they are filled in.
    """
    state = _drop_unused(state)
    if _is_hugging_face(state):
        rules = [*_HF_RENAMES, (r'^embeddings\.register_tokens$', 'storage_tokens')]
        state = _join_qkv(_rename(state, rules), bias=qkv_bias)
        gated = any('.mlp.gate_proj.' in key for key in state)
        names = ('w2', 'w3') if gated else ('fc1', 'fc2')
        rules = [
            (r'\.mlp\.gate_proj\.', '.mlp.w1.'),
            (r'\.mlp\.up_proj\.', f'.mlp.{names[0]}.'),
            (r'\.mlp\.down_proj\.', f'.mlp.{names[1]}.'),
        ]
        state = _rename(state, rules)
        state.setdefault('rope_embed.periods', periods)
    elif 'reg_token' in state:
        state = _dinov3_from_timm(state, qkv_bias)
        state.setdefault('rope_embed.periods', periods)
    for key in [k for k in state if k.endswith('.qkv.bias_mask')]:
        bias = key.removesuffix('_mask')
        state[bias] = state[bias] * state.pop(key)
    return state


def _dinov3_from_timm(state: State, qkv_bias: bool) -> State:
    rules = [
        (r'^reg_token$', 'storage_tokens'),
        (r'\.gamma_([12])$', r'.ls\1.gamma'),
        (r'\.mlp\.fc1_g\.', '.mlp.w1.'),
        (r'\.mlp\.fc1_x\.', '.mlp.w2.'),
    ]
    if any('.mlp.fc1_g.' in key for key in state):
        rules.append((r'\.mlp\.fc2\.', '.mlp.w3.'))
    state = _rename(state, rules)
    for key in [k for k in state if k.endswith('.attn.qkv.weight')]:
        block = key.removesuffix('.qkv.weight')
        zero = torch.zeros(len(state[key]) // 3, dtype=state[key].dtype)
        q, v = (state.pop(f'{block}.{part}_bias', zero) for part in 'qv')
        if qkv_bias:
            state[f'{block}.qkv.bias'] = torch.cat([q, zero, v])
    return state
