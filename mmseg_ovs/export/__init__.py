"""Models as ONNX files and as programs of ``torch.export``."""

from .errors import ExportError
from .export import Export, export_model
from .formats import FORMATS, Format, OnnxFormat, TorchFormat
from .score_graph import ScoreGraph

__all__ = [
    'FORMATS',
    'Export',
    'ExportError',
    'Format',
    'OnnxFormat',
    'ScoreGraph',
    'TorchFormat',
    'export_model',
]
