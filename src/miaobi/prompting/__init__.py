"""Prompts: templates in a sandbox, dialogues as a model's publisher writes them, and what they become as tokens."""

from __future__ import annotations

from miaobi.modalities._dialogue import Message, dialogue_tokens, read_messages, render_chat, turn_end
from miaobi.modalities._sandbox import render
from miaobi.prompting.prompt import Prompt, make_template

__all__ = [
    "Message",
    "Prompt",
    "dialogue_tokens",
    "make_template",
    "read_messages",
    "render",
    "render_chat",
    "turn_end",
]
