from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ITEMS, SIDE = 300, 510
# Growth is measured from after the imports; pages of mapped files are the system's to take back, so they do not count.
CODE = """
import numpy as np, re, sys
from pathlib import Path
from miaobi.data import Loader, prepare
from miaobi.recipe import Recipe

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

data = {"source": "pictures", "split": {"by": "position"}, "clean": {"duplicates": "exact"}}
recipe = Recipe.load({"modality": {"name": "image", "size": 16}, "data": data, "model": {"family": "vae"}})
most = []
before = anonymous()
prepared = prepare(recipe, log=lambda line: most.append(anonymous()))
with Loader(prepared.train, 8, 0) as loader:
    for index in range(10):
        loader.batch(index)
        most.append(anonymous())
held = sum(path.stat().st_size for path in Path("cache/prepared").rglob("*.arrow"))
print(max(most) - before, held)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured through /proc")
def test_a_data_set_is_not_loaded(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for number in range(ITEMS):
        pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        pixels[: number + 1] = (255, 0, 0)
        Image.fromarray(pixels).save(tmp_path / f"pictures/{number}.bmp")
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grown, held = map(int, done.stdout.split())
    assert held > 200 << 20
    assert grown < 100 << 20
