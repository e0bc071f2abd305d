"""Data: sources, cleaning, splitting without leakage, a memory-mapped cache, batches, and named real data sets."""

from __future__ import annotations

from miaobi.data.dataset import Dataset
from miaobi.data.inspect import inspect
from miaobi.data.loader import Loader
from miaobi.data.prepare import Prepared, prepare
from miaobi.data.report import Report

__all__ = ["Dataset", "Loader", "Prepared", "Report", "inspect", "prepare"]
