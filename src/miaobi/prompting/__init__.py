"""Prompts: templates in a sandbox, dialogues as a model's publisher writes them, and what they become as tokens."""

from __future__ import annotations

from miaobi.prompting.chat import Message, read_messages, render_chat
from miaobi.prompting.prompt import Prompt, dialogue_tokens, make_template, turn_end
from miaobi.prompting.sandbox import render

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
