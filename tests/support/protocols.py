"""What every score must say of itself, whatever metric it is of."""

from __future__ import annotations

import json
import math

from miaobi.evaluation.metrics import Metric
from miaobi.evaluation.records import Score
from miaobi.plugins import name_of

ALWAYS = {
    *("metric", "figure", "direction", "paper", "split", "samples", "data", "source", "modality", "family"),
    *("options", "versions"),
}


def check(metric: Metric, figure: str, found: Score) -> None:
    """That a score is finite, JSON, and has a whole protocol."""
    protocol = found.protocol
    lacking = ALWAYS - protocol.keys()
    assert not lacking, f"{name_of(type(metric))}.{figure} lacks {sorted(lacking)}"
    assert (protocol["metric"], protocol["figure"]) == (name_of(type(metric)), figure)
    assert protocol["direction"] == type(metric).figures[figure].value
    assert math.isfinite(found.value), figure
    if found.interval is not None:
        assert -math.inf < found.interval[0] <= found.interval[1] < math.inf, figure
        assert protocol["interval_method"], figure
    if found.floor is not None:
        assert math.isfinite(found.floor), figure
        assert protocol["floor_method"], figure
    assert {"miaobi", "torch", *type(metric).libraries} <= protocol["versions"].keys()
    if "extractor" in protocol:
        assert protocol["preprocessing"], figure
        assert len(protocol["extractor_hash"]) == 16, figure
    json.dumps(found.to_json(), allow_nan=False)
