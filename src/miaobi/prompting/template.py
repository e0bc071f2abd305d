"""Prompt templates that people fill in: a text with typed fields, each checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field as Value
from pydantic import model_validator

from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.modalities._sandbox import fields_of, render
from miaobi.types import Settings

_LARGEST_FILE = 1 << 20
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class TemplateField(Settings):
    """One value that a template needs."""

    type: Literal["text", "number", "choice", "list", "flag"] = "text"
    required: bool = Value(True, description="without a default, it has to be given")
    default: Any = Value(None, description="what it is where nothing is given")
    choices: tuple[str, ...] = Value((), max_length=1000, description="of a choice: what it may be")
    max_length: int = Value(10_000, ge=1, le=1 << 20, description="characters of a text, or items of a list")

    @model_validator(mode="after")
    def _has_choices(self) -> TemplateField:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices are of the type choice, which needs them")
        if self.default is not None:
            self.read("default", self.default)
        return self

    def read(self, name: str, given: Any) -> Any:
        """The value, of its type; what comes from a command line is text.

        Raises:
            InvalidRecipe: naming the field, what was given and what is allowed.
        """
        made, allowed = getattr(self, f"_{self.type}")(given)
        if made is None:
            raise InvalidRecipe(f"the field {name} is no {self.type} that is allowed", given=given, allowed=allowed)
        return made

    def _text(self, given: Any) -> tuple[Any, str]:
        fits = isinstance(given, str) and len(given) <= self.max_length
        return given if fits else None, f"text of at most {self.max_length} characters"

    def _number(self, given: Any) -> tuple[Any, str]:
        allowed = "a finite number, at most 10^15 in size"
        if isinstance(given, bool) or not isinstance(given, int | float | str) or len(str(given)) > 40:
            return None, allowed
        try:
            made = float(given)
        except ValueError:
            return None, allowed
        fits = abs(made) <= 1e15
        return (int(made) if made.is_integer() else made) if fits else None, allowed

    def _choice(self, given: Any) -> tuple[Any, Any]:
        return given if given in self.choices else None, self.choices

    def _list(self, given: Any) -> tuple[Any, str]:
        items = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
        fits = isinstance(items, list | tuple) and len(items) <= self.max_length
        fits = fits and all(isinstance(item, str | int | float) for item in items)
        return list(items) if fits else None, f"at most {self.max_length} items, between commas"

    def _flag(self, given: Any) -> tuple[Any, str]:
        return given if isinstance(given, bool) else _FLAGS.get(str(given).lower()), "true or false"


class PromptTemplate(Settings):
    """A prompt in Jinja, and what its fields are.

    Raises:
        InvalidRecipe: a field that the text has no place for, or a place without a field.
    """

    text: str = Value(description="Jinja: {{ NAME }} is a field's value")
    fields: dict[str, TemplateField] = {}
    chat: bool = Value(False, description="the text is a user's message to a model that was taught dialogues")

    @model_validator(mode="after")
    def _fits(self) -> PromptTemplate:
        if strangers := fields_of(self.text) ^ self.fields.keys():
            raise ValueError(f"text and fields do not name the same: {', '.join(sorted(strangers))}")
        return self

    @classmethod
    def load(cls, path: Path | str) -> PromptTemplate:
        """Read a YAML file.

        Raises:
            InvalidRecipe: no such file, not YAML, or not a template.
        """
        try:
            if Path(path).stat().st_size > _LARGEST_FILE:
                raise InvalidRecipe("the template is too large", given=str(path), allowed=f"{_LARGEST_FILE} bytes")
            found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InvalidRecipe(f"the template cannot be read: {error}", given=str(path)) from None
        if not isinstance(found, dict):
            raise InvalidRecipe("a template is a mapping", given=str(path), allowed=list(cls.model_fields))
        return cls.parse(found, str(path))

    def fill(self, values: Mapping[str, Any]) -> str:
        """The text with ``values`` in it.

        Raises:
            UnknownName: a value for no field.
            InvalidRecipe: a value that is missing or not of its field's type, or a text that cannot be made.
        """
        for name in values:
            if name not in self.fields:
                raise UnknownName("field", name, self.fields)
        return render(self.text, {name: self._value(name, values) for name in self.fields})

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        field = self.fields[name]
        given = values.get(name, field.default)
        if given is not None:
            return field.read(name, given)
        if field.required:
            raise InvalidRecipe(f"the field {name} is missing", allowed=f"a {field.type}", cure=f"give {name}=VALUE")
        return {"list": [], "flag": False, "number": 0}.get(field.type, "")
