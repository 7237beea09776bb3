"""One set of tiny models and images for all tests of the chain."""

import pytest
from tiny_models import save_detector, save_images, save_sam, save_tagger

from mmseg_ovs.pseudo_masks import GroundingDINODetector, SAMSegmenter, load_tagger


@pytest.fixture(scope='session')
def tagger(tmp_path_factory):
    return load_tagger(save_tagger(tmp_path_factory.mktemp('tagger')))


@pytest.fixture(scope='session')
def detector_folder(tmp_path_factory):
    return save_detector(tmp_path_factory.mktemp('detector'))


@pytest.fixture(scope='session')
def detector(detector_folder):
    return GroundingDINODetector.from_pretrained(detector_folder, threshold=0.5)


@pytest.fixture(scope='session')
def sam_files(tmp_path_factory):
    return save_sam(tmp_path_factory.mktemp('sam'))


@pytest.fixture(scope='session')
def segmenter(sam_files):
    return SAMSegmenter.from_checkpoint(*sam_files)


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    """A captions file and the folder of its images."""
    return save_images(tmp_path_factory.mktemp('data'))
