"""Parity of our modules with the authors' code, from golden files."""

from pathlib import Path

from .anyup import run_anyup
from .catseg import RUNNERS as CATSEG
from .cost_aggregation import RUNNERS as COST_AGGREGATION
from .dino import run_backbone
from .dinotxt import run_dinotxt
from .golden import Comparison, Golden, GoldenFileError, compare
from .sam import run_image_encoder
from .talk2dino import (
    run_pamr,
    run_projection,
    run_published_projection,
    run_segmentation,
)


def check(path: str | Path, weights_dir: str | Path | None = None) -> Comparison:
    """Build our counterpart of a golden file, run it and compare every output.

    Args:
        path: Golden file.
        weights_dir: Folder of published weights for files that hold none; by default
            the folder ``weights`` beside the folder of the file.

    Raises:
        GoldenFileError: The file is unreadable or of an unknown component.
    """
    golden = Golden.read(path)
    weights_dir = Path(weights_dir or golden.path.resolve().parent.parent / 'weights')
    component = golden.config.get('component')
    constructor = golden.config.get('constructor', {})
    name = str(constructor.get('cls', '')).split('.')
    if component in ('dinov2', 'dinov3') and name[-1] == 'DinoVisionTransformer':
        ours = run_backbone(golden)
    elif component == 'anyup':
        ours = run_anyup(golden)
    elif component == 'sam' and name[-1] == 'ImageEncoderViT':
        ours = run_image_encoder(golden)
    elif component == 'dinotxt':
        ours = run_dinotxt(golden)
    elif component == 'catseg' and name[-1] in COST_AGGREGATION:
        ours = COST_AGGREGATION[name[-1]](golden)
    elif component == 'catseg' and name[-1] in CATSEG:
        ours = CATSEG[name[-1]](golden)
    elif component == 'talk2dino' and name[-1] == 'PAMR':
        ours = run_pamr(golden)
    elif component == 'talk2dino' and 'ProjectionLayer' in name:
        if golden.weights:
            ours = run_projection(golden)
        else:
            ours = run_published_projection(golden, weights_dir)
    elif component == 'talk2dino' and {'backbone', 'proj'} <= set(constructor):
        ours = run_segmentation(golden)
    else:
        raise GoldenFileError(
            f'{path}: no counterpart for component {component!r} '
            f'({".".join(name) or "no constructor"})'
        )
    return compare(golden, ours)


__all__ = ['Comparison', 'Golden', 'GoldenFileError', 'check', 'compare']
