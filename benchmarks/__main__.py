"""Run every benchmark in a process of its own and write RESULTS.md; exits 1 where a target was missed.

``python -m benchmarks [NAME ...]`` runs only those named; their tables, kept in ``reports``, replace the old ones. What
takes long runs only when it is named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPORTS = HERE / "reports"
ON_REQUEST = {
    "adaptation",
    "chinese_classification",
    "continual",
    "editing",
    "families",
    "guidance",
    "quality",
    "solvers",
    "text_gan",
}
PAGES = {"gallery"}
"""Not a table of RESULTS.md: run as ``python -m benchmarks.gallery``."""
ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false"}


def main() -> None:
    known = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_") and path.stem not in PAGES)
    names = sys.argv[1:] or [name for name in known if name not in ON_REQUEST]
    if unknown := sorted(set(names) - set(known)):
        sys.exit(f"unknown benchmarks: {', '.join(unknown)}; allowed: {', '.join(known)}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"benchmark {name} ...", file=sys.stderr, flush=True)
        (REPORTS / f"{name}.json").write_text(_run(name), encoding="utf-8")
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(REPORTS.glob("*.json"))]
    text = "# Measured beside peers\n\nWritten by `make bench`; do not edit.\n\n" + "\n".join(map(_section, reports))
    (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(not all(met for report in reports for met in report["checks"].values()))


def _run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"],
        stdout=subprocess.PIPE, check=True, text=True, cwd=HERE.parent, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    return done.stdout


def _section(report: dict[str, Any]) -> str:
    rows = [report["columns"], ["---"] * len(report["columns"]), *report["rows"]]
    table = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
    checks = "\n".join(f"- {'met' if met else '**missed**'}: {what}" for what, met in report["checks"].items())
    return f"## {report['title']}\n\n{report['setting']}\n\n{table}\n\n{checks}\n"


if __name__ == "__main__":
    main()
