"""The command line: one file a verb, each a thin layer over the Python function of the same name."""

from __future__ import annotations

from miaobi.cli._app import main

__all__ = ["main"]
