"""A trained model as one file, proven to answer as its checkpoint does."""

from visiontasks.export.exported import Exported, export

__all__ = ["Exported", "export"]
