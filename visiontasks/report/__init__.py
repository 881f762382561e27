"""Reports of runs as pages in HTML."""

from visiontasks.report.page import How, prepare, write_report

__all__ = ["How", "prepare", "write_report"]
