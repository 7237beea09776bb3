"""``torch.compile`` where it is worth its time: the trunks that see images."""

from __future__ import annotations

from torch import nn

from mmseg_ovs.models.necks import SemanticPriorEncoder


def compile_trunks(model: nn.Module) -> None:
    """Compile the backbone, and that of a prior, with ``nn.Module.compile``.

    They are compiled at their first call (21 s for ViT-B on one CPU core), and
    again when images come in another size: with windows there is one, with
    ``mode='whole'`` after the second PyTorch compiles for any. Necks and heads that
    work piece by piece would become a graph of all pieces.

    Args:
        model: An :class:`OpenVocabSegmentor`.
    """
    model.backbone.compile()
    for module in model.modules():
        if isinstance(module, SemanticPriorEncoder):
            module.prior.compile()
