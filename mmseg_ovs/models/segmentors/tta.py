"""Test-time augmentation: the mean of the scores of several views."""

from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor


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
        return self.module.predict(**view, keep_logits=True)

    def merge_preds(
        self, data_samples_list: tuple[list[SegDataSample], list[Tensor]]
    ) -> list[SegDataSample]:
        """Samples, and the mean scores (N, H, W) of each, to samples with labels."""
        least = self.module.inference_cfg().min_probability
        for sample, scores in zip(*data_samples_list, strict=True):
            sample.seg_logits = PixelData(data=scores)
            best, labels = scores.max(dim=0, keepdim=True)
            if least:
                background = self.module.vocabulary.background_class
                labels.masked_fill_(best < least, background)
            sample.pred_sem_seg = PixelData(data=labels)
        return data_samples_list[0]
