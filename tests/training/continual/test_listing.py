"""A run says its versions: what each is of, what its gates said, and which is in use."""

from miaobi import promote
from miaobi.cli._app import run as cli
from miaobi.training.continual.listing import described
from tests.support.refreshed import base, copied, data, refreshed


def test_a_run_without_versions_has_its_own_model_in_use():
    found = described(base())
    assert found["in use"] == "0001"
    assert list(found["versions"]) == ["0001"]
    assert "gates" not in found


def test_versions_and_their_gates_are_listed(tmp_path, capfd):
    run = copied(tmp_path)
    refreshed(run, "train.steps=40", "refresh.forget=0.5")
    (run / "versions" / "0003").mkdir()
    promote(run)
    (run / "versions" / "0003" / "lineage.json").write_text("{}")
    found = described(run)
    assert found["in use"] == "0002"
    assert found["versions"]["0001"].startswith("the run's own model")
    assert found["versions"]["0002"] == f"in use: from 0001, passed its gates, {data() / 'new.jsonl'}"
    assert found["versions"]["0003"].startswith("not finished")
    assert [name.split()[0] for name in found["gates"]] == ["0002", "0002"]
    capfd.readouterr()
    assert cli(["show", str(run)]) == 0
    out = capfd.readouterr().out
    assert "gain on" in out
    assert "in use: from 0001" in out
