"""Every system exported once."""

from __future__ import annotations

import pytest
from tiny_systems import build

from mmseg_ovs.export import export_model


@pytest.fixture(scope='session')
def exported(tmp_path_factory):
    """Gives a model and its :class:`Export` as ONNX, by system; each made once."""
    done = {}

    def export(system):
        if system not in done:
            folder = tmp_path_factory.mktemp(system.__name__)
            model = build(system, folder)
            result = export_model(model, folder / 'model.onnx', config=system.__name__)
            done[system] = model, result
        return done[system]

    return export
