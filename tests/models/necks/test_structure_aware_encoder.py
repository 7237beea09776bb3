"""Gates of OVS-DINO's encoder: the same for all images, or computed from each."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.necks import StructureAwareEncoder
from tests.models.module_tester import check_gradients
from tests.tiny import NECKS, WIDTH

MAPS = torch.randn(3, 2, WIDTH, 4, 5, generator=torch.Generator().manual_seed(0))


def encoder(**changes):
    """As it starts, without other weights than those of its initialisation."""
    return MODELS.build(dict(NECKS['structure encoder'], **changes))


@torch.no_grad()
def test_gates_of_the_image_start_as_those_of_all():
    plain, own = encoder(), encoder(gate='input')
    own.load_state_dict({**own.state_dict(), **plain.state_dict()})
    torch.testing.assert_close(own(list(MAPS))[0], plain(list(MAPS))[0])


@torch.no_grad()
def test_gates_of_the_image():
    fusion = encoder(gate='input').fusion
    torch.nn.init.normal_(fusion.image_gates)
    layers = [
        project(x) for project, x in zip(fusion.projections, MAPS[:2], strict=True)
    ]
    weights = fusion.weights(layers)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    assert not torch.allclose(weights[0], weights[1], atol=1e-3)
    for i in range(2):
        alone = fusion.weights([x[i : i + 1] for x in layers])[0]
        torch.testing.assert_close(weights[i], alone)
        expected = sum(w * x[i] for w, x in zip(alone, layers, strict=True))
        torch.testing.assert_close(fusion(MAPS[:2])[i], expected)


def test_gates_of_the_image_learn():
    module = encoder(gate='input')
    check_gradients(module, [module(list(MAPS))[0]])


def test_unknown_gate():
    with pytest.raises(ValueError, match="'softmax', 'sigmoid', 'input'.*'static'"):
        StructureAwareEncoder(gate='static')
