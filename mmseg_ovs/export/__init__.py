"""Models as ONNX files, as programs of ``torch.export`` and as compiled libraries."""

from .errors import ExportError
from .export import Export, export_model
from .formats import FORMATS, AotiFormat, Format, OnnxFormat, TorchFormat
from .score_graph import ScoreGraph

__all__ = [
    'FORMATS',
    'AotiFormat',
    'Export',
    'ExportError',
    'Format',
    'OnnxFormat',
    'ScoreGraph',
    'TorchFormat',
    'export_model',
]
