"""What a recipe says of a represented modality agrees with the part; what it does not say is as the part has it."""

from types import SimpleNamespace

import numpy as np
import pytest

from miaobi import modalities
from miaobi.data.plan import make_plan
from miaobi.errors import InvalidRecipe
from miaobi.modalities._waveform import Sound, wav_bytes
from miaobi.recipe import DataSettings
from miaobi.types import Form, Spec

CODES = Spec(Form.TOKENS, vocabulary=9, max_length=4, fixed=True)


def planned(modality, folder):
    wav = wav_bytes(Sound(np.zeros(800, np.int16), 8000))
    (folder / "silence.wav").write_bytes(wav)
    mel = modalities.create({"name": "speech", "representation": "mel", "seconds": 2.0})
    codec = SimpleNamespace(modality=mel, digest="codec", specs=lambda: {"codes": CODES})
    settings = DataSettings(source=str(folder), representation="codec.codes")
    return make_plan(modality, settings, folder, parts={"codec": codec})


@pytest.mark.parametrize("options", [{}, {"seconds": 2.0}, {"seconds": 2.0, "representation": "mel"}], ids=str)
def test_a_recipe_need_not_repeat_a_parts_options(options, tmp_path):
    assert planned({"name": "speech", **options}, tmp_path).modality.inner.config.representation == "mel"


@pytest.mark.parametrize("options", [{"seconds": 1.0}, {"representation": "waveform"}], ids=str)
def test_options_that_contradict_the_part_are_refused(options, tmp_path):
    with pytest.raises(InvalidRecipe, match="other options"):
        planned({"name": "speech", **options}, tmp_path)


def test_another_modality_than_the_parts_is_refused(tmp_path):
    with pytest.raises(InvalidRecipe, match="does not represent image"):
        planned("image", tmp_path)
