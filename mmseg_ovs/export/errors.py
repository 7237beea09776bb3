"""What goes wrong when a model is exported."""

from mmseg_ovs.utils import OpenVocabError


class ExportError(OpenVocabError):
    """A model cannot be exported as asked, or its graph does not give its results."""
