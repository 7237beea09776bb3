"""Linear centred kernel alignment of features, exact and streaming.

Source: Kornblith et al., "Similarity of Neural Network Representations Revisited"
(ICML 2019, arXiv 1905.00414), equation 6 in its feature-space form.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def paired_positions(
    first: Sequence[Tensor], second: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Maps of two networks for the same images to examples which belong together.

    Our reading: an example is a position of an image, for it is positions that a
    segmentor classifies. All maps are brought to one grid, the coarsest of them in
    each direction, by antialiased bilinear resizing: finer maps are averaged, and no
    positions are made up.

    Args:
        first: Maps (B, C, h, w), each of its own size.
        second: The same of the other network.

    Returns:
        Two lists of (B * h * w, C).
    """
    sides = torch.tensor([tuple(x.shape[-2:]) for x in (*first, *second)])
    grid = tuple(sides.amin(0).tolist())

    def flatten(x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != grid:
            x = F.interpolate(x, grid, mode='bilinear', antialias=True)
        return x.permute(0, 2, 3, 1).flatten(0, 2)

    return [flatten(x) for x in first], [flatten(x) for x in second]


class StreamingCKA:
    """Linear CKA of every layer of one network with every layer of another.

    ``|Y' X|^2 / (|X' X| |Y' Y|)`` (Frobenius norms) of features X (n, D) and Y (n, E)
    with their means taken away. The products are sums over examples, so they are kept
    (D x E numbers in double precision for each pair of layers) and the examples are
    not: memory does not depend on n, and the result is that of all examples at once.
    """

    def __init__(self) -> None:
        self.count = 0
        self._means: list[Tensor] = []
        self._products: dict[tuple[int, int], Tensor] = {}
        self._layers = (0, 0)

    def update(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        """Add examples.

        Args:
            first: (n, D) for each layer of the first network; n may differ from call
                to call, D may differ from layer to layer.
            second: (n, E) for each layer of the second one, of the same examples.

        Raises:
            ValueError: The number of examples or layers differs.
        """
        batch = [x.detach().double() for x in (*first, *second)]
        layers = (len(first), len(second))
        sizes = {len(x) for x in batch}
        if len(sizes) != 1 or not all(layers):
            raise ValueError(f'layers have different or no examples: {sorted(sizes)}')
        if self.count and layers != self._layers:
            raise ValueError(f'{layers} layers after {self._layers}')
        (added,) = sizes
        if not added:
            return
        means = [x.mean(0) for x in batch]
        batch = [x - mean for x, mean in zip(batch, means, strict=True)]
        if not self.count:
            self._layers, self._means = layers, [torch.zeros_like(m) for m in means]
        # Chan et al. (1979): moments of a union from centred moments of its parts,
        # which loses no digits where means are large against deviations.
        total = self.count + added
        shift = [new - old for new, old in zip(means, self._means, strict=True)]
        weight = self.count * added / total
        for i, j in self._pairs():
            product = batch[i].T @ batch[j]
            product.addr_(shift[i], shift[j], alpha=weight)
            if (i, j) in self._products:
                product += self._products[i, j]
            self._products[i, j] = product
        self._means = [
            old + change * (added / total)
            for old, change in zip(self._means, shift, strict=True)
        ]
        self.count = total

    def matrix(self) -> Tensor:
        """CKA (first's layers, second's layers), double; nan for constant features.

        Raises:
            ValueError: There are fewer than two examples.
        """
        if self.count < 2:
            raise ValueError(f'CKA needs at least two examples, not {self.count}')
        rows, columns = self._layers
        norm = {pair: product.norm() for pair, product in self._products.items()}
        return torch.tensor(
            [
                [
                    norm[i, rows + j] ** 2 / (norm[i, i] * norm[rows + j, rows + j])
                    for j in range(columns)
                ]
                for i in range(rows)
            ],
            dtype=torch.float64,
        )

    def _pairs(self) -> list[tuple[int, int]]:
        """Layers to multiply; the second network's are counted after the first's."""
        rows, columns = self._layers
        own = [(i, i) for i in range(rows + columns)]
        return own + [(i, rows + j) for i in range(rows) for j in range(columns)]
