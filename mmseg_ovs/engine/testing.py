"""What the options of ``tools/test.py`` change in a config."""

from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_ovs.composition.compose import is_transform
from mmseg_ovs.composition.data_files import innermost_datasets
from mmseg_ovs.utils import OpenVocabError

_HOOK = 'OpenVocabVisualizationHook'
_FOLDER = 'ImageFolderVisBackend'
_TTA_MODEL = 'OpenVocabTTAModel'


class NoResultError(OpenVocabError):
    """A test that would end without a result."""


def draw_predictions(
    cfg: Config, folder: str | None, show: bool = False, wait_time: float = 0
) -> None:
    """Switch on the visualization hook for ``--show`` and ``--show-dir``."""
    # The hook's own interval is 50; what the config says comes last and wins.
    default = dict(type=_HOOK, interval=1)
    hooks = cfg.get('default_hooks', {})
    hook = {**default, **hooks.get('visualization', {}), 'draw': True}
    if hook['type'] == 'SegVisualizationHook':
        hook['type'] = _HOOK  # which keeps the folders of images apart
    if show:
        hook.update(show=True, wait_time=wait_time)
    cfg.default_hooks = {**hooks, 'visualization': hook}
    if folder:
        cfg.visualizer.save_dir = folder
        backends = cfg.visualizer.get('vis_backends') or []
        others = [b for b in backends if b['type'] not in ('LocalVisBackend', _FOLDER)]
        cfg.visualizer.vis_backends = [dict(type=_FOLDER), *others]


def augment_at_test_time(cfg: Config) -> None:
    """Wrap the model and change the pipeline for ``--tta``."""
    dataset = cfg.test_dataloader.dataset
    pipeline = cfg.get('tta_pipeline')
    for part in innermost_datasets(dataset):
        part['pipeline'] = pipeline or flipped_as_well(part['pipeline'])
    wrapper = cfg.get('tta_model') or dict(type='SegTTAModel')
    if wrapper['type'] == 'SegTTAModel' and 'text_encoder' in cfg.model:
        wrapper = dict(wrapper, type=_TTA_MODEL)
    elif wrapper['type'] == _TTA_MODEL and 'text_encoder' not in cfg.model:
        wrapper = dict(wrapper, type='SegTTAModel')
    cfg.model = dict(wrapper, module=cfg.model)


def flipped_as_well(pipeline: list[dict]) -> list[dict]:
    """A test pipeline that gives each image and its mirror image."""
    labels = [step for step in pipeline if is_transform(step, LoadAnnotations)]
    before = [step for step in pipeline[:-1] if step not in labels]
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    views = [flips, *([step] for step in labels), [pipeline[-1]]]
    return [*before, dict(type='TestTimeAug', transforms=views)]


def without_scores(cfg: Config, writes: bool) -> None:
    """Keep metrics out of a test that cannot or shall not score.

    That is a test on data without labels, or with ``format_only`` at one metric.

    Args:
        cfg: Changed in place.
        writes: Whether predictions are written or shown.

    Raises:
        NoResultError: Nothing would come out of it.
    """
    metrics = cfg.test_evaluator
    metrics = metrics if isinstance(metrics, list) else [metrics]
    parts = list(innermost_datasets(cfg.test_dataloader.dataset))
    unlabelled = [part for part in parts if not has_labels(part)]
    silent = [metric for metric in metrics if metric.get('format_only')]
    if not (unlabelled or silent):
        return
    if 0 < len(unlabelled) < len(parts):
        raise NoResultError('Only some of the test data sets have labels')
    if unlabelled:
        kept = [dict(m, format_only=True) for m in metrics if m.get('output_dir')]
    else:
        kept = [m for m in metrics if m not in silent or m.get('output_dir')]
    if not (kept or writes):
        reason = 'The test data have no labels (data_prefix.seg_map_path)'
        if silent:
            reason = f'{silent[0]["type"]} has format_only'
        raise NoResultError(
            f'{reason}, so there are no scores: give --out or --show-dir to write the '
            'predictions'
        )
    cfg.test_evaluator = kept
    if unlabelled and cfg.get('tta_pipeline'):
        cfg.tta_pipeline = without_labels(cfg.tta_pipeline)
    for part in unlabelled:
        part['data_prefix'].pop('seg_map_path', None)
        if part.get('pipeline'):
            part['pipeline'] = without_labels(part['pipeline'])


def without_labels(steps: list) -> list:
    """A pipeline without the transforms that load labels, nested ones included."""
    kept = []
    for step in steps:
        if isinstance(step, list | tuple):
            step = without_labels(step)
        elif is_transform(step, LoadAnnotations):
            continue
        elif step.get('transforms'):
            step = dict(step, transforms=without_labels(step['transforms']))
        if step:  # an empty list of views would leave TestTimeAug none
            kept.append(step)
    return kept


def has_labels(dataset: dict) -> bool:
    """Whether the config of a data set names a folder of labels."""
    prefix, kind = dataset.get('data_prefix'), dataset['type']
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    of_mmseg = isinstance(kind, type) and issubclass(kind, BaseSegDataset)
    return not (of_mmseg and prefix) or prefix.get('seg_map_path') is not None
