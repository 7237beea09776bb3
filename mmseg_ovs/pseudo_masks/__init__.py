"""Masks for the nouns of captions: NLTK, Grounding DINO, SAM (OVS-DINO, Appendix A).

Five stages, each a function that writes into the folder of the run:
:func:`tag_captions`, :func:`filter_nouns`, :func:`find_boxes`, :func:`draw_masks`,
:func:`merge`. ``tools/pseudo_masks/run.py`` is their command line. Detector and
segmenter are handed in; :class:`GroundingDINODetector` and :class:`SAMSegmenter` are
those of the paper. NLTK and ``transformers`` are imported when they are needed.
:class:`Audit` compares the result with labels (``tools/pseudo_masks/audit.py``).
"""

from .audit import Audit, Coverage, NounMask, Pair
from .audit_sheets import audit_sheet
from .boxes import Detection, Detector, find_boxes
from .errors import DamagedShardError, PseudoMaskError, UnreadableImageError
from .filtering import filter_nouns
from .grounding_dino import GroundingDINODetector
from .label_masks import LabelMasks
from .masks import Segmenter, draw_masks
from .merging import merge
from .sam_boxes import SAMSegmenter, build_sam
from .shards import Part
from .stop_words import STOP_WORDS
from .tagging import load_tagger, read_captions, tag_captions

__all__ = [
    'STOP_WORDS',
    'Audit',
    'Coverage',
    'DamagedShardError',
    'Detection',
    'Detector',
    'GroundingDINODetector',
    'LabelMasks',
    'NounMask',
    'Pair',
    'Part',
    'PseudoMaskError',
    'SAMSegmenter',
    'Segmenter',
    'UnreadableImageError',
    'audit_sheet',
    'build_sam',
    'draw_masks',
    'filter_nouns',
    'find_boxes',
    'load_tagger',
    'merge',
    'read_captions',
    'tag_captions',
]
