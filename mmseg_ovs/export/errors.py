"""What goes wrong when a model is exported."""


class ExportError(RuntimeError):
    """A model cannot be exported as asked, or its graph does not give its results."""
