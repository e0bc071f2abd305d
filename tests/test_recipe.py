import pytest
import yaml

from miaobi.errors import InvalidRecipe, RunFolderError
from miaobi.recipe import Recipe, plugin_name, plugin_options

SMALLEST = {"modality": "text", "data": {"source": "poems.txt"}, "model": {"family": "autoregressive"}}


def load(changes=(), **sections):
    return Recipe.load({**SMALLEST, **sections}, changes)


def test_only_three_sections_are_required():
    assert load().train.batch_size == 32
    for missing in SMALLEST:
        with pytest.raises(InvalidRecipe, match=missing):
            Recipe.load({k: v for k, v in SMALLEST.items() if k != missing})


def test_set_reaches_any_depth_and_reads_yaml_values():
    recipe = load(["train.steps=7", "train.learning_rate=3e-3", "train.clip=null", "modality.tokenizer=bpe"])
    assert recipe.train.steps == 7
    assert recipe.train.learning_rate == 0.003
    assert recipe.train.clip is None
    assert recipe.modality == {"name": "text", "tokenizer": "bpe"}


@pytest.mark.parametrize("change", ["train.steps", "=3", "train.steps=[", "seed.a=1"])
def test_a_change_that_means_nothing_is_refused(change):
    with pytest.raises(InvalidRecipe):
        load([change])


def test_unknown_keys_name_the_nearest():
    with pytest.raises(InvalidRecipe, match=r"train\.stpes: unknown key; did you mean steps"):
        load(["train.stpes=5"])


@pytest.mark.parametrize(
    "change",
    [
        "train.batch_size=0",
        "train.steps=-1",
        "train.learning_rate=.inf",
        "data.split.validation=1.5",
        "seed=-1",
        "model.size=huge",
        "train.ema=1",
    ],
)
def test_numbers_and_choices_are_bounded(change):
    with pytest.raises(InvalidRecipe, match="given"):
        load([change])


def test_a_run_has_one_length():
    with pytest.raises(InvalidRecipe, match="one of steps, epochs and minutes"):
        load(["train.steps=5", "train.minutes=1"])


def test_micro_batches_divide_the_batch():
    with pytest.raises(InvalidRecipe, match="does not divide"):
        load(["train.batch_size=32", "train.accumulate=5"])


def test_a_split_leaves_something_to_train_on():
    with pytest.raises(InvalidRecipe, match="leave nothing"):
        load(["data.split.validation=0.6", "data.split.test=0.6"])


def test_conditions_have_short_forms():
    short = load(data={"source": "x", "condition": {"title": "text", "label": None}})
    assert short.data.condition["title"].modality == "text"
    assert short.data.condition["label"].modality == "label"
    assert load(data={"source": "x", "condition": ["label"]}).data.condition["label"].modality == "label"


def test_yaml_round_trip(tmp_path):
    recipe = load(["train.steps=7", "data.condition={title: text}", "note=春曉"])
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(path) == recipe
    assert Recipe.load(tmp_path) == recipe


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(SMALLEST) + "seed: 1\nseed: 2\n")
    with pytest.raises(InvalidRecipe, match=r"twice.*seed"):
        Recipe.load(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"- a\n- b\n", b"a: [", b"!!python/object/apply:os.system [ls]"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidRecipe):
        Recipe.load(path)


def test_no_file_and_a_huge_file(tmp_path):
    with pytest.raises(RunFolderError, match="no such recipe"):
        Recipe.load(tmp_path / "absent.yaml")
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (1 << 20 | 1))
    with pytest.raises(InvalidRecipe, match="larger than 1 MiB"):
        Recipe.load(huge)


def test_plugin_sections():
    assert plugin_name("text") == "text"
    assert plugin_options({"name": "text", "context": 3}) == {"context": 3}
    with pytest.raises(InvalidRecipe, match="needs a name"):
        plugin_name({"context": 3})


BAD = ["../../../evil", "a/b", "a\\b", ".", "..", ".a", "a.b", "", "a\n", "/a"]


@pytest.mark.parametrize("name", [*BAD, "a b", "春"])
def test_stages_and_parts_have_names_that_can_be_folders(name):
    with pytest.raises(InvalidRecipe, match="the name of a stage has letters"):
        load(stages={name: {}})
    with pytest.raises(InvalidRecipe, match="the name of a part has letters"):
        load(model={"family": "vae", "parts": {name: "run:x"}})


@pytest.mark.parametrize("name", [*BAD, " a", "a "])
def test_conditions_have_names_that_can_be_folders(name):
    with pytest.raises(InvalidRecipe, match="the name of a condition has letters"):
        load(data={"source": "x", "condition": {name: "label"}})
    with pytest.raises(InvalidRecipe, match="the name of a condition has letters"):
        load(supply={name: "run:x"})


@pytest.mark.parametrize("name", ["label", "release year", "semi-major", "题目", "लेबल", "étiquette_2"])
def test_conditions_are_named_like_columns(name):
    assert list(load(data={"source": "x", "condition": {name: "label"}}).data.condition) == [name]


def test_a_bare_stage_is_an_empty_section():
    recipe = load(stages={"codec": None, "prior": {"seed": 1}})
    assert recipe.stages == {"codec": {}, "prior": {"seed": 1}}
    with pytest.raises(InvalidRecipe, match=r"stages\.codec"):
        load(stages={"codec": "vae"})
