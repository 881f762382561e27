"""Reports of runs as pages in HTML."""

from visiontasks.report.page import How, write_report

__all__ = ["How", "write_report"]
