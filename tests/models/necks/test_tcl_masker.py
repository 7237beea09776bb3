"""TCL's masker against its definition, and what its gates do."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_ovs.models.necks import TCLMasker
from tests.models.module_tester import check_gradients
from tests.tiny import NECKS, WIDTH, make

MAP = torch.randn(2, WIDTH, 3, 4, generator=torch.Generator().manual_seed(0))


def layer_norm(x, norm):
    """Of every vector x (C,) of its own."""
    centred = x - x.mean()
    unit = centred / (centred.square().mean() + 1e-5).sqrt()
    return unit * norm.weight + norm.bias


def residual(x, part):
    """x + tanh(g) * conv(gelu(LN(x))) of a map (C, h, w)."""
    normed = x.clone()
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            normed[:, i, j] = layer_norm(x[:, i, j], part.norm)
    padded = F.pad(F.gelu(normed), (1, 1, 1, 1))
    patches = F.unfold(padded[None], 3)[0]
    convolved = part.conv.weight.flatten(1) @ patches + part.conv.bias[:, None]
    return x + part.gate.tanh() * convolved.view_as(x)


@torch.no_grad()
def test_definition():
    masker = make(NECKS['TCL'])
    x, block = MAP[0], masker.block
    out = x.clone()
    for i in range(3):  # patch by patch: none sees another
        for j in range(4):
            token = x[:, i, j]
            value = block.attn.qkv.weight[2 * WIDTH :] @ layer_norm(token, block.norm1)
            value = value + block.attn.qkv.bias[2 * WIDTH :]
            token = token + block.attn.proj.weight @ value + block.attn.proj.bias
            hidden = block.mlp.fc1.weight @ layer_norm(token, block.norm2)
            hidden = hidden + block.mlp.fc1.bias
            hidden = hidden / (1 + (-1.702 * hidden).exp())
            out[:, i, j] = token + block.mlp.fc2.weight @ hidden + block.mlp.fc2.bias
    for part in masker.decoder:
        out = out.repeat_interleave(2, 1).repeat_interleave(2, 2)
        out = residual(residual(out, part.conv), part.conv2)
    expected = torch.zeros(WIDTH, 12, 16)
    for i in range(12):
        for j in range(16):
            expected[:, i, j] = layer_norm(out[:, i, j], masker.norm) @ masker.proj
    other = torch.randn(2, 8, 3, 4)
    kept, fine = masker((MAP, other))
    assert kept is other
    torch.testing.assert_close(fine[0], expected, rtol=1e-4, atol=1e-5)


def test_gates_start_closed_and_learn_first():
    """As if there were no convolutions; of a decoder only the gates have a gradient."""
    masker = TCLMasker(WIDTH, 8)
    (fine,) = masker((MAP,))
    (coarse,) = TCLMasker.forward(_without_decoder(masker), (MAP,))
    assert fine.shape == (2, 8, 12, 16)
    torch.testing.assert_close(fine, F.interpolate(coarse, scale_factor=4))
    fine.square().sum().backward()
    learning = {n for n, p in masker.decoder.named_parameters() if p.grad.any()}
    assert learning == {f'{i}.{c}.gate' for i in range(2) for c in ('conv', 'conv2')}


def _without_decoder(masker):
    plain = TCLMasker(WIDTH, 8, num_blocks=0)
    state = masker.state_dict()
    plain.load_state_dict({k: state[k] for k in plain.state_dict()})
    return plain


def test_any_of_the_maps():
    masker = make(NECKS['TCL'], in_index=1)
    kept, fine = masker((MAP[:, :3], MAP))
    assert torch.equal(kept, MAP[:, :3])
    assert torch.equal(fine, make(NECKS['TCL'])((MAP,))[0])
    assert check_gradients(masker.train(), masker((MAP[:, :3], MAP))[1:])


def test_a_map_in_the_space_of_text_is_refused():
    message = r'before the last block .* 16 channels, but map 0 has 3.*out_indices'
    with pytest.raises(ValueError, match=message):
        make(NECKS['TCL'])((MAP[:, :3],))
