"""A search, told: plots and galleries of a run folder, and one page to keep or to mail.

Everything is read from the folder's JSON, JSONL and PNG files; neither torch, Ray nor Optuna is
loaded, and nothing in the folder is run.
"""

from metasearch.report.live import LiveReport
from metasearch.report.page import leave_report, render, write_report
from metasearch.report.pictures import Gallery, gallery
from metasearch.report.plots import PLOTS
from metasearch.report.story import Story

__all__ = [
    "PLOTS",
    "Gallery",
    "LiveReport",
    "Story",
    "gallery",
    "leave_report",
    "render",
    "write_report",
]
