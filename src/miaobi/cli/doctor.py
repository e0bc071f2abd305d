"""``miaobi doctor``: is this machine ready, and what to do where it is not."""

from __future__ import annotations

from dataclasses import asdict

import typer

from miaobi.cli._checks import Level, examine
from miaobi.cli._shared import Json, answering


def command(json: Json = False) -> None:
    """Check Python, torch, processors, extras, clients of registries, the cache and the disk."""
    with answering(json) as answer:
        found = examine()
        lines = []
        for finding in found:
            lines.append(f"{finding.level.upper():7} {finding.name}: {finding.detail}")
            if finding.cure:
                lines.append(f"{'':7} what to do: {finding.cure}")
        answer.give({"checks": [asdict(finding) for finding in found]}, lines)
    if any(finding.level is Level.FAILED for finding in found):
        raise typer.Exit(1)
