"""The transfers of full-size models, one config of each architecture: minutes each.

Only with ``pytest --full-size tests/properties``, see tests/conftest.py.
"""

import pytest
import yaml
from mmengine import Config

from mmseg_ovs.apis import find_config
from tests.acceleration.test_switches import build
from tests.properties.device_meter import AVAILABLE, fake_gpu, to_host
from tests.properties.test_device import batch
from tests.tool_loader import ROOT

pytestmark = pytest.mark.skipif(
    not AVAILABLE, reason='this PyTorch has other private functions'
)
# Parts that an image does not pass through.
ASIDE = 'data_preprocessor', 'text_encoder', 'test_cfg', 'train_cfg', 'loss_decode'
ASIDE += 'init_cfg', 'norm_cfg', 'act_cfg'


def modules(part):
    """Types of the modules in a config that an image passes through."""
    if isinstance(part, dict):
        below = (value for key, value in part.items() if key not in ASIDE)
        return frozenset({part['type']} if 'type' in part else ()).union(
            *map(modules, below)
        )
    if isinstance(part, list | tuple):
        return frozenset().union(*map(modules, part))
    return frozenset()


def architectures():
    """The first config of the metafiles with each set of modules that predicts."""
    found = {}
    for path in sorted((ROOT / 'configs').glob('*/metafile.yml')):
        for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']:
            kinds = modules(Config.fromfile(find_config(model['Name'])).model)
            segments = kinds & {'OpenVocabSegmentor', 'OpenVocabSAN'}
            if segments and 'tiny' not in model['Name']:
                found.setdefault(kinds, model['Name'])
    return list(found.values())


@pytest.mark.parametrize('name', architectures())
def test_an_image_in_at_most_five_transfers(name):
    """Labels are those of the CPU where rounding does not decide between two names."""
    model = build(name)
    data = batch(size=(512, 683))
    (expected,) = model.test_step(data)
    with fake_gpu() as meter:
        model.to('cuda')
        model.test_step(data)  # encodes the names, and keeps what the size needs
        meter.clear()
        (found,) = model.test_step(data)
        assert meter.copies.total() + meter.reads.total() <= 5, meter.describe()
    found, expected = (x.pred_sem_seg.data for x in (found, expected))
    assert found.device.type == 'cuda'
    assert (to_host(found) != expected).double().mean() < 1e-4
