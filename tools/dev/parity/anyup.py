"""Our AnyUp built from, loaded with and run on golden files."""

from torch import Tensor

from mmseg_ovs.models.layers import window_mask
from mmseg_ovs.models.necks import AnyUp
from mmseg_ovs.models.utils import load_pretrained

from .golden import Golden


def run_anyup(golden: Golden) -> dict[str, Tensor]:
    """Every output of an AnyUp file, and the masks of its window."""
    neck = AnyUp(**golden.kwargs).eval()
    load_pretrained(neck, golden.weights)
    image, features = golden.inputs['image'], golden.inputs['features']
    grid = tuple(features.shape[-2:])
    chunks = {'': neck.chunk_pixels, '_chunked': golden.config['q_chunk_size']}
    ours = {}
    for name, size in golden.config['output_sizes'].items():
        size = tuple(size or image.shape[-2:])
        for suffix, pixels in chunks.items():
            neck.chunk_pixels = pixels
            ours[f'{name}{suffix}'] = neck.upsample(image, features, size)
        ours[f'mask_{name}'] = window_mask(size, grid, neck.cross_decode.window_ratio)
    return ours
