import sys

import pytest

from miaobi import plugins
from miaobi.errors import UnknownName


class Base:
    pass


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_brick.py").write_text("raise RuntimeError('bricks are not plug-ins')")
    header = f"from {__name__} import Base\n"
    (folder / "two_words.py").write_text(header + "class TwoWords(Base): pass\nclass _Hidden(Base): pass")
    (folder / "empty.py").write_text("")
    (folder / "loud.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    yield "shelf"
    for name in [name for name in sys.modules if name.startswith("shelf")]:
        del sys.modules[name]


def test_the_file_name_is_the_name_and_nothing_is_imported_to_list(package):
    assert plugins.names(package) == ["empty", "loud", "two_words"]


def test_hyphens_and_underscores_mean_the_same(package):
    for name in ("two_words", "two-words"):
        found = plugins.load(package, name, Base)
        assert found.__name__ == "TwoWords"
        assert plugins.name_of(found) == "two_words"


def test_an_unknown_name_is_refused_with_the_nearest(package):
    with pytest.raises(UnknownName, match="did you mean two_words"):
        plugins.load(package, "two_wrods", Base)
    with pytest.raises(UnknownName):
        plugins.load(package, "../two_words", Base)
    with pytest.raises(UnknownName):
        plugins.load(package, "_brick", Base)


def test_a_file_without_its_one_class_is_a_mistake_of_its_author(package):
    with pytest.raises(TypeError, match="exactly one public Base"):
        plugins.load(package, "empty", Base)
