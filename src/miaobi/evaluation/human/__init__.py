"""What people say: blinded ratings of items by systems and of held-out data, and what follows from them.

study = rate(["runs/a", "runs/b"], task="pairs", out="rating/a-b")
serve(study, raters=["ann", "bo"])
print(results("rating/a-b").text())
"""

from __future__ import annotations

from miaobi.evaluation.human.records import Answer, Design, Piece, Role, Task, Trial
from miaobi.evaluation.human.results import Results, results
from miaobi.evaluation.human.server import Server, serve
from miaobi.evaluation.human.store import Study
from miaobi.evaluation.human.study import rate

__all__ = [
    "Answer",
    "Design",
    "Piece",
    "Results",
    "Role",
    "Server",
    "Study",
    "Task",
    "Trial",
    "rate",
    "results",
    "serve",
]
