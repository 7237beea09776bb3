"""A frozen network beside the model: built when first asked, never saved or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures

from .images import resize_images
from .model_checkpoint import init_own_weights


class FrozenTeacher:
    """Feature maps of a frozen network that is no part of the model.

    It is deliberately not a module: its weights are in no state dict and no optimizer,
    and it is neither built nor loaded before it is first called, so that a teacher of
    training costs nothing at inference. Proxies and graphs of patches, which inference
    needs, are asked for when the model loads its weights.

    Args:
        cfg: Config of a backbone; its ``init_cfg`` names the weights.
        input_size: Images are resized to it (bilinear, antialiased). None: as they
            are.
        out_index: Which of the backbone's maps.
    """

    def __init__(
        self,
        cfg: Mapping,
        input_size: tuple[int, int] | None = None,
        out_index: int = -1,
    ) -> None:
        self.cfg = dict(cfg)
        self.input_size = input_size
        self.out_index = out_index
        self._network: nn.Module | None = None
        self._has_weights = False

    def outline(self) -> nn.Module:
        """The network, built at the first call, with or without its weights."""
        if self._network is None:
            self._network = MODELS.build(dict(self.cfg))
        return self._network

    def network(self, device: torch.device | str) -> nn.Module:
        """The network in evaluation mode on a device, loaded at the first call."""
        network = self.outline()
        if not self._has_weights:
            init_own_weights(network)
            network.requires_grad_(False)
            network.eval()  # of mmseg's ResNet it returns nothing
            self._has_weights = True
        if any(p.device != torch.device(device) for p in network.parameters()):
            network.to(device)  # which export cannot trace
        return network

    @torch.no_grad()
    def maps(self, image: Tensor) -> Sequence[Tensor]:
        """All maps (B, C, h, w) of normalised images (B, 3, H, W)."""
        image = resize_images(image, self.input_size)
        features = self.network(image.device)(image)
        return features.maps if isinstance(features, VisualFeatures) else features

    def __call__(self, image: Tensor) -> Tensor:
        """Map (B, C, h, w) of normalised images (B, 3, H, W)."""
        return self.maps(image)[self.out_index]

    def on_image(self, image: Tensor) -> Tensor:
        """As a call, for those who need to know where on the image a feature lies.

        Raises:
            ValueError: The grid does not lie on the image, or there is no map.
        """
        network = self.network(image.device)
        sides = self.input_size or image.shape[-2:]
        patch = getattr(network, 'patch_size', 1)
        fit = getattr(network, 'fit', None)
        if fit in ('pad', 'crop') and any(s % patch for s in sides):
            raise ValueError(
                f'Images of {sides[0]} x {sides[1]} are no multiples of the patch '
                f'({patch}) of the proxy, whose fit={fit!r} makes its grid cover '
                f'{"more" if fit == "pad" else "less"} than the image: build it with '
                "fit='resize', or make the sides of windows multiples"
            )
        features = self(image)
        if features.ndim != 4:
            raise ValueError(
                f'The proxy {type(network).__name__} returns no feature map (B, C, h, '
                f'w), but {tuple(features.shape)}'
            )
        return features
