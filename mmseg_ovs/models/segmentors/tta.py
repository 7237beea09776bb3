"""Test-time augmentation: the mean of the scores of several views."""

from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from .inference import small_classes
from .settings import InferenceCfg


@MODELS.register_module()
class OpenVocabTTAModel(BaseTTAModel):
    """Segments views of an image by the mean of their class scores.

    mmseg's ``SegTTAModel`` needs scores that :class:`OpenVocabSegmentor` keeps only if
    asked, and takes a softmax of them, after which a background score means something
    else.

    Args:
        module: The :class:`OpenVocabSegmentor` or its config.
        data_preprocessor: As in ``BaseTTAModel``.
    """

    def test_step(self, data: dict[str, list]) -> list[SegDataSample]:
        """Segment a batch.

        Args:
            data: ``inputs`` and ``data_samples``, each a list with an entry a view.

        Returns:
            The samples of the first view with ``pred_sem_seg`` (1, H, W), int64, and
            ``seg_logits`` (N, H, W), the mean.
        """
        views = [
            {key: value[i] for key, value in data.items()}
            for i in range(len(data['inputs']))
        ]
        found = map(self._predict, views)  # one view is kept at a time
        samples = next(found)
        scores = [sample.seg_logits.data for sample in samples]
        for other in found:
            scores = [s + o.seg_logits.data for s, o in zip(scores, other, strict=True)]
        return self.merge_preds((samples, [total / len(views) for total in scores]))

    def _predict(self, view: dict[str, list]) -> list[SegDataSample]:
        view = self.module.data_preprocessor(view, False)
        settings = dict(keep_logits=True)
        if self._settings().min_area:
            settings['min_area'] = None  # is for the mean
        return self.module.predict(**view, **settings)

    def _settings(self) -> InferenceCfg:
        return self.module.inference_cfg()

    def merge_preds(
        self, data_samples_list: tuple[list[SegDataSample], list[Tensor]]
    ) -> list[SegDataSample]:
        """Samples, and the mean scores (N, H, W) of each, to samples with labels."""
        cfg, vocabulary = self._settings(), self.module.vocabulary
        for sample, scores in zip(*data_samples_list, strict=True):
            if cfg.min_area:
                labels, background = scores.argmax(dim=0), vocabulary.background_class
                small = small_classes(labels, len(scores), background, cfg.min_area)
                scores.masked_fill_(small[:, None, None], 0)
            sample.seg_logits = PixelData(data=scores)
            best, labels = scores.max(dim=0, keepdim=True)
            if cfg.min_probability:
                background = vocabulary.background_class
                labels.masked_fill_(best < cfg.min_probability, background)
            sample.pred_sem_seg = PixelData(data=labels)
        return data_samples_list[0]
