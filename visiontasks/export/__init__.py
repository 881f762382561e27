"""Export of a trained model as one file, checked against its checkpoint."""

from visiontasks.export.exported import Exported, export

__all__ = ["Exported", "export"]
