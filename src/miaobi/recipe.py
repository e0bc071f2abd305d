"""What a user writes: one YAML file, overridden by ``--set a.b=c``.

Sections of plug-ins (``modality``, ``model.network``, ``model.options``, ...) stay mappings here; ``models/`` validates
them against the plug-in's own ``Config`` before any work starts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field as Value
from pydantic import field_validator, model_validator

from miaobi.errors import InvalidRecipe, RunFolderError
from miaobi.types import Settings, Size

Plugin = str | dict[str, Any]
Share = Annotated[float, Value(ge=0, lt=1)]
Positive = Annotated[int, Value(gt=0, le=10**9)]


class Split(Settings):
    """How items are divided.

    ``hash``: by content hash, whole groups going one way; ``position``: the last items (of a stream: the last
    characters) are held out; ``given``: a column called ``split`` says train, validation or test.
    """

    by: Literal["hash", "position", "given"] = "hash"
    group: str | None = Value(None, description="a column whose equal values stay together")
    validation: Share = 0.1
    test: Share = 0.1

    @model_validator(mode="after")
    def _leaves_training(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on")
        return self


class ConditionSettings(Settings):
    """One condition: where it comes from and what it is."""

    modality: Plugin = "label"
    column: str | None = Value(None, description="the source's column; default: the condition's own name")
    view: Plugin | None = Value(None, description="a view of the target instead of a column, e.g. downscale")


class ExtraSettings(Settings):
    """What an item brings besides its conditions; see `DataSettings.extra`."""

    column: str | None = Value(None, description="the source's column; default: the extra's own name")


class Cleaning(Settings):
    """What is thrown away before the split; every removal is reported."""

    duplicates: Literal["exact", "near", "keep"] = "near"
    min_length: int | None = Value(None, ge=0, description="in the modality's units (characters, pixels, events)")
    max_length: int | None = Value(None, ge=1)
    max_unreadable: Share = Value(0.1, description="a larger share of unreadable items stops the run")
    limit: Positive | None = Value(None, description="take only the first this many readable items")


class DataSettings(Settings):
    """Where items come from and how they are prepared."""

    source: str = Value(
        description="a folder, CSV/TSV/JSONL/Parquet, one .txt (a stream), aligned:FOLDER, hub:NAME or catalog:NAME"
    )
    content: str | None = Value(None, description="the column of the target; default: the first that fits the modality")
    condition: dict[str, ConditionSettings] = {}
    extra: dict[Literal["rejected", "desirable"], ExtraSettings] = Value(
        {},
        description="rejected: what the target is preferred to, of its modality; desirable: whether it is, a boolean",
    )
    split: Split = Split()
    clean: Cleaning = Cleaning()
    augment: dict[str, Any] = Value({}, description="the modality's own augmentation options")
    representation: str | None = Value(None, description="the modality's own, or a part's codes, latents or embeddings")

    @field_validator("condition", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """``{label: label}`` and ``{title: text}`` are short for ``{modality: ...}``; a list takes the defaults."""
        if isinstance(value, list):
            return {name: {} for name in value}
        if isinstance(value, Mapping):
            return {k: {"modality": v} if isinstance(v, str) else (v or {}) for k, v in value.items()}
        return value

    @field_validator("extra", mode="before")
    @classmethod
    def _short_extras(cls, value: Any) -> Any:
        """``{desirable: label}`` is short for ``{desirable: {column: label}}``; a list takes the defaults."""
        if isinstance(value, list):
            return {name: {} for name in value}
        if isinstance(value, Mapping):
            return {k: {"column": v} if isinstance(v, str) else (v or {}) for k, v in value.items()}
        return value

    @field_validator("condition")
    @classmethod
    def _named(cls, value: dict[str, ConditionSettings]) -> dict[str, ConditionSettings]:
        _check_conditions(value)
        return value


class ModelSettings(Settings):
    """Which family and networks; everything not said is derived from the data and ``size``."""

    family: str
    size: Size = "small"
    options: dict[str, Any] = Value({}, description="the family's own Config")
    network: dict[str, Any] = Value({}, description="{name: ..., options} for one role, or {role: {name: ...}}")
    start: str | None = Value(
        None,
        description="trainable weights to start from: run:PATH, stage:NAME, hub:ID@REVISION, starter:NAME, "
        "a folder with config.json, or a .gguf file",
    )
    prompt: dict[str, Any] | None = Value(
        None, description="how a public model is asked: {format: chat, alpaca or plain, system, user, answer}"
    )
    parts: dict[str, str] = Value(
        {}, description="frozen parts: run:PATH, stage:NAME, hub:ID@REVISION, starter:NAME, initial"
    )

    @field_validator("parts")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, str]:
        _check_names("part", value)
        return value


class OptimiserSettings(Settings):
    """``muon``: hidden matrices with Muon at ``learning_rate``, the rest with AdamW at ``other_learning_rate``."""

    name: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    betas: tuple[Share, Share] | None = Value(None, description="default: the family's own")
    momentum: Share | None = Value(None, description="default: 0.9 for sgd, 0.95 for muon")
    weight_decay: float = Value(0.0, ge=0, le=10)
    other_learning_rate: float | None = Value(None, gt=0, le=10)


class ScheduleSettings(Settings):
    """Warm-up then decay of the learning rate, in steps of the whole run."""

    name: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: int = Value(100, ge=0, description="steps of linear warm-up; at most a tenth of the run")
    final: float = Value(0.0, ge=0, le=1, description="last rate as a share of the first")


class EarlyStopping(Settings):
    """Stop when the held-out figure has not improved for ``patience`` evaluations."""

    patience: Positive = 5
    min_delta: float = Value(0.0, ge=0)


class TrainSettings(Settings):
    """How long and how. Exactly one of steps, epochs and minutes; none means the family's default number of steps."""

    steps: Positive | None = None
    epochs: Annotated[float, Value(gt=0, le=1e6)] | None = None
    minutes: Annotated[float, Value(gt=0, le=1e5)] | None = Value(
        None, description="turned into steps once, by measurement"
    )
    batch_size: Positive = 32
    accumulate: Positive = Value(1, description="micro-batches a batch")
    group_by_length: bool = Value(False, description="put items of like length in a batch: less padding, more a second")
    learning_rate: float = Value(3e-4, gt=0, le=10)
    phase_learning_rate: dict[str, float] = Value(
        {}, description="another rate for a phase, e.g. {discriminator: 1e-4}"
    )
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    clip: float | None = Value(1.0, gt=0, description="largest gradient norm; null leaves gradients alone")
    ema: Annotated[float, Value(gt=0, lt=1)] | None = Value(
        0.999, description="decay of the averaged weights; null for none"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "off"
    threads: Positive | None = Value(None, description="default: measured, then fixed in the run")
    evaluate_every: Positive | None = Value(None, description="steps; default: a twentieth of the run, or less often")
    checkpoint_every: Positive | None = Value(None, description="steps; default: as evaluate_every")
    sample_every: Positive | None = Value(None, description="steps between live samples; default: as evaluate_every")
    early_stopping: EarlyStopping | None = None
    freeze: list[str] = Value([], description="name patterns of parameters that stay as they are")
    tracking: list[Literal["tensorboard", "wandb"]] = ["tensorboard"]

    @model_validator(mode="after")
    def _one_length(self) -> TrainSettings:
        given = [name for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of steps, epochs and minutes, not {' and '.join(given)}")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} does not divide into {self.accumulate} micro-batches")
        return self


class EvaluateSettings(Settings):
    """Which figures, on how many samples."""

    metrics: list[str] = Value([], description="GROUP, GROUP.FIGURE or a unique FIGURE; default: the modality's")
    samples: Positive = Value(1000, description="generated samples, at most as many as there are held-out items")
    extractor: str | None = Value(None, description="named feature extractor; default: the modality's")
    control: dict[str, Any] = Value({}, description="sampling controls")
    options: dict[str, dict[str, Any]] = Value({}, description="{GROUP: a metric's own Config}")


class RequestSettings(Settings):
    """One thing that `miaobi generate RECIPE` makes; what a user would say beside the model."""

    prompt: str | None = None
    condition: dict[str, Any] = Value({}, description="{CONDITION: its value}")
    control: dict[str, Any] = Value({}, description="sampling controls")
    n: int = Value(1, ge=1, le=1000, description="how many items")
    seed: int = Value(0, ge=0, lt=2**62)


class RefreshSettings(Settings):
    """How a trained model is refreshed with new data, and what the refreshed one has to show before it is promoted."""

    parent: str | None = Value(None, description="version:NNNN, the model that is refreshed; miaobi writes it")
    replay: Share = Value(0.5, description="share of an epoch's items that are old ones")
    distil: float = Value(0.0, ge=0, le=100, description="weight of staying near the old model on old items")
    steps: Positive | None = Value(None, description="of the refresh; default: train.steps")
    learning_rate: float | None = Value(None, gt=0, le=10, description="of the refresh; default: train.learning_rate")
    metric: str | None = Value(None, description="group whose first figure the gates read; default: the family's own")
    gain: float = Value(
        0.0, ge=0, le=1, description="share of the old model's figure by which new data has to improve, beyond noise"
    )
    forget: float = Value(
        0.02,
        gt=0,
        le=1,
        description="by which share of the figure of the version that learnt it old data may worsen, noise included",
    )

    @model_validator(mode="after")
    def _distils_something(self) -> RefreshSettings:
        if self.distil and not self.replay:
            raise ValueError("distil works on replayed items: set replay above 0, or distil to 0")
        return self


class Recipe(Settings):
    """A whole run. Only ``modality``, ``data`` and ``model.family`` are required."""

    modality: Plugin
    data: DataSettings
    model: ModelSettings
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    refresh: RefreshSettings = RefreshSettings()
    generate: dict[str, RequestSettings] = Value(
        {}, description="{NAME: {prompt, condition, control, n, seed}}: what `miaobi generate RECIPE` makes"
    )
    supply: dict[str, str] = Value({}, description="{CONDITION: stage:NAME or run:PATH}: what makes it in generating")
    seed: int = Value(0, ge=0, lt=2**62)
    stages: dict[str, dict[str, Any]] = Value({}, description="{NAME: sections that differ}, run in order")
    tune: dict[str, Any] = Value({}, description="how `miaobi tune` searches it: its space, trials and budget")
    note: str | None = Value(None, description="free text: what the recipe shows and its measured score")
    expected: dict[str, Any] = Value({}, description="measured scores, for people; nothing reads them")

    @field_validator("stages", mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        """``codec:`` with nothing after it is a stage that differs in nothing."""
        if isinstance(value, Mapping):
            return {name: {} if section is None else section for name, section in value.items()}
        return value

    @field_validator("stages")
    @classmethod
    def _named(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        _check_names("stage", value)
        return value

    @field_validator("generate")
    @classmethod
    def _requested(cls, value: dict[str, RequestSettings]) -> dict[str, RequestSettings]:
        _check_names("request", value)
        return value

    @field_validator("supply")
    @classmethod
    def _supplied(cls, value: dict[str, str]) -> dict[str, str]:
        _check_conditions(value)
        return value

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any] | Recipe, changes: Sequence[str] = ()) -> Recipe:
        """Read a recipe and apply ``a.b=c`` changes.

        Args:
            source: a YAML path, a run folder, the name of a shipped recipe, a mapping, or a recipe.
            changes: as given to ``--set``; values are read as YAML.

        Raises:
            RunFolderError: no such file.
            InvalidRecipe: not YAML, unknown keys or wrong values.
        """
        data = source.to_json() if isinstance(source, Recipe) else _read(source)
        for change in changes:
            _apply_change(data, change)
        return cls.parse(data, "recipe")

    def to_yaml(self) -> str:
        """YAML that `load` reads back, without what was left at its default."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_defaults=True), allow_unicode=True, sort_keys=False)


def plugin_name(plugin: Plugin, default: str | None = None) -> str:
    """The name of a plug-in given as a name or as ``{name: ..., options}``."""
    if isinstance(plugin, str):
        return plugin
    name = plugin.get("name", default)
    if not isinstance(name, str):
        raise InvalidRecipe("a plug-in section needs a name", given=plugin, cure="write {name: ..., options}")
    return name


def plugin_options(plugin: Plugin) -> dict[str, Any]:
    """The options of a plug-in section, without its name."""
    return {} if isinstance(plugin, str) else {k: v for k, v in plugin.items() if k != "name"}


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name: ``image/fashion-mnist-gan`` and the file that holds it."""
    package = Path(__file__).resolve().parent
    # A wheel carries the folder inside the package; a checkout has it at its root.
    folders = [folder for folder in (package / "recipes", package.parent.parent / "recipes") if folder.is_dir()]
    return {
        path.relative_to(root).with_suffix("").as_posix(): path for root in folders[:1] for path in root.rglob("*.yaml")
    }


def _check_names(what: str, names: Iterable[str]) -> None:
    # They become folders, and a part's name stands before a dot.
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"the name of a {what} has letters (a to z), digits, _ and - only, not {name!r}")


def _check_conditions(names: Iterable[str]) -> None:
    for name in names:
        letters = all(character in " _-" or unicodedata.category(character)[0] in "LMN" for character in name)
        if not letters or name != name.strip() or not name:
            raise ValueError(
                f"the name of a condition has letters, digits, spaces, _ and - only, not {name!r}; "
                "a column of another name is named by column"
            )


class _UniqueKeys(yaml.SafeLoader):
    """YAML would let the second of two equal keys win in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise InvalidRecipe(f"key given twice at line {node.start_mark.line + 1}", given=twice)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 3e-4 as text; every user means a number.
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _parse_yaml(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise InvalidRecipe(f"{what} is not YAML: {error}") from None


def _read(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return _parse_yaml(yaml.safe_dump(dict(source), allow_unicode=True, sort_keys=False), "the mapping")  # type: ignore[no-any-return]
    path = Path(source)
    if not path.exists():
        path = shipped().get(str(source).removeprefix("recipes/").removesuffix(".yaml"), path)
    if path.is_dir() and (path / "recipe.yaml").exists():
        path = path / "recipe.yaml"
    if not path.is_file():
        raise RunFolderError(
            "no such recipe",
            given=str(source),
            cure="give a recipe.yaml, a run folder, or a name from `miaobi list recipes`",
        )
    if path.stat().st_size > 1 << 20:
        raise InvalidRecipe("a recipe is larger than 1 MiB", given=str(path))
    try:
        data = _parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise InvalidRecipe(f"{path} is not UTF-8 text: {error}") from None
    if not isinstance(data, dict):
        raise InvalidRecipe("a recipe is a mapping of sections", given=data, allowed=Recipe.model_fields)
    return data


def _apply_change(data: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise InvalidRecipe("--set takes KEY=VALUE", given=change, cure="for example --set train.steps=500")
    *parents, last = key.split(".")
    section: Any = data
    for parent in parents:
        section = _section(section, parent)
    section[last] = _parse_yaml(text, f"the value of {key}")


def _section(section: dict[str, Any], name: str) -> dict[str, Any]:
    value = section.get(name)
    if isinstance(value, str):
        value = {"name": value}
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise InvalidRecipe(f"{name} is not a section that --set can enter", given=value)
    section[name] = value
    return value
