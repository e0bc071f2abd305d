"""Templates in their sandbox: what publishers write works as in transformers, and nothing gets out or runs on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from miaobi.errors import InvalidRecipe, MiaobiError
from miaobi.modalities._sandbox import fields_of
from miaobi.prompting import render

GROWING = "{% set ns = namespace(x='ab', l=[1]) %}{% for i in range(200) %}{% set ns.CHANGE %}{% endfor %}"
ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ['']|map(attribute='__class__')|first }}",
    "{{ ['']|map('attr', '__class__')|first }}",
    "{{ x.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ range.__self__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace().__class__ }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ cycler('a') }}",
    "{{ joiner() }}",
    "{{ lipsum() }}",
    "{{ lipsum.__globals__ }}",
    "{{ dict(a=1) }}",
    "{{ ''.format(1) }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ '%s' % x }}",
    "{{ '%999999999d'|format(1) }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ 'a'.encode() }}",
    "{{ 'a'.translate({97: 'b'}) }}",
    "{% include 'secret' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% from 'os' import system %}",
    "{% extends 'base' %}",
    "{% for y in x %}{{ loop.__class__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__class__ }}",
    "{% set x.y = 1 %}",
    "{{ [].append(1) }}",
    "{{ x.append(1) }}",
    "{{ environment }}",
    "{{ nothing }}",
    "{{ raise_exception('no') }}",
    "{% for %}",
    "{{ 'open",
    "{% frobnicate %}",
    "{{ 1 / 0 }}",
    "{{ (1).real.__class__ }}",
]
COSTLY = [
    "{{ range(10**9)|list }}",
    "{{ range(1000000000)|list }}",
    "{{ 'a' * 10**9 }}",
    "{{ 'a' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ 9 ** 9 ** 9 ** 9 }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ 'a\t'.expandtabs(1000000000) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a\nb'|indent(1000000000) }}",
    "{{ [1]|batch(1000000000, 'x')|list }}",
    "{{ [1]|slice(1000000000)|list }}",
    "{{ 1.5|round(1000000000) }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) if b < 0 %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaa' }}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for a in [[]] recursive %}{{ loop([[]]) }}{% endfor %}",
    GROWING.replace("CHANGE", "x = ns.x ~ ns.x"),
    GROWING.replace("CHANGE", "x = ns.x + ns.x"),
    GROWING.replace("CHANGE", "x = ns.x|replace('a', 'aa')"),
    GROWING.replace("CHANGE", "x = ns.x.replace('a', 'aa')"),
    GROWING.replace("CHANGE", "x = ns.x.join([ns.x, ns.x])"),
    GROWING.replace("CHANGE", "x = [ns.x, ns.x]|join(ns.x)"),
    GROWING.replace("CHANGE", "l = ns.l + ns.l"),
    GROWING.replace("CHANGE", "l = [ns.l, ns.l]"),
    GROWING.replace("CHANGE", "l = (ns.l, ns.l)"),
    GROWING.replace("CHANGE", "l = {'a': ns.l, 'b': ns.l}"),
    GROWING.replace("CHANGE %}", "x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
    "{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "{% for a in [1] %}" * 60 + "{% endfor %}" * 60,
    "{{ x }}" + " " * (1 << 20),
]


@pytest.mark.parametrize("template", [*ESCAPES, *COSTLY], ids=lambda text: text[:70])
def test_nothing_gets_out_or_runs_on(template: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRecipe) as refused:
        render(template, {"x": ["one"]})
    assert time.process_time() - began < 5
    assert "template" in refused.value.message
    assert isinstance(refused.value, MiaobiError)


def test_what_it_was_given_stays_as_it_was() -> None:
    given: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}]}
    render("{% set messages = [] %}{{ messages|length }}", given)
    assert given == {"messages": [{"role": "user", "content": "a"}]}


def test_every_rendering_has_the_whole_budget() -> None:
    template = "{% for i in range(90000) %}{% endfor %}{{ 'a' }}"
    assert [render(template, {}) for _ in range(4)] == ["a"] * 4


def test_what_people_wrote_is_no_template() -> None:
    said = "{{ ''.__class__ }} {% for %} 100 % {0}"
    assert render("{{ text }}", {"text": said}) == said


def test_fields_are_those_that_are_not_set_inside() -> None:
    assert fields_of("{% set a = b %}{% for c in d %}{{ a }}{{ c }}{{ range(2) }}{% endfor %}") == {"b", "d"}
    with pytest.raises(InvalidRecipe, match="not a template"):
        fields_of("{% for %}")
    with pytest.raises(InvalidRecipe, match="not a template"):
        fields_of("{{ " + "(" * 5000 + " }}")


CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' "
    "+ message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
INSTRUCT = (
    "{%- if messages[0]['role'] == 'system' %}\n{%- set system_message = messages[0]['content'] %}\n"
    "{%- set loop_messages = messages[1:] %}\n{%- else %}\n{%- set loop_messages = messages %}\n{%- endif %}\n"
    "{{- bos_token }}\n{%- for message in loop_messages %}\n"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
    "{{- raise_exception('roles must alternate') }}\n{%- endif %}\n{%- if message['role'] == 'user' %}\n"
    "{%- if loop.last and system_message is defined %}\n{{- '[INST] ' + system_message + '\n\n' + message['content'] "
    "+ '[/INST]' }}\n{%- else %}\n{{- '[INST] ' + message['content'] + '[/INST]' }}\n{%- endif %}\n"
    "{%- elif message['role'] == 'assistant' %}\n{{- ' ' + message['content'] + eos_token}}\n{%- endif %}\n"
    "{%- endfor %}\n"
)
ROLES = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] "
    "+ eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
    "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
THINKING = (
    "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}\n"
    "{%- for message in messages[::-1] %}\n{%- set index = (messages|length - 1) - loop.index0 %}\n"
    "{%- if ns.multi_step_tool and message.role == 'user' and message.content is string and not("
    "message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}\n"
    "{%- set ns.multi_step_tool = false %}\n{%- set ns.last_query_index = index %}\n{%- endif %}\n{%- endfor %}\n"
    "{%- for message in messages %}\n{%- if message.role == 'assistant' %}\n"
    "{%- set content = message.content.split('</think>')[-1].lstrip('\n') %}\n"
    "{{- '<|im_start|>' ~ message.role ~ '\n' ~ content ~ '<|im_end|>\n' }}\n{%- else %}\n"
    "{{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' }}\n{%- endif %}\n"
    "{%- if loop.index0 == ns.last_query_index %}{{- '<!-- last -->' }}{%- endif %}\n{%- endfor %}\n"
    "{%- if tools %}{{ tools | tojson }}{%- endif %}\n{{- {'n': messages|length} | tojson(indent=2) }}\n"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("template", [CHATML, HEADERS, INSTRUCT, ROLES, THINKING])
def test_publishers_templates_render_as_in_transformers(template: str, system: bool, answer: bool) -> None:
    chat_templates = pytest.importorskip("transformers.utils.chat_template_utils")
    said = [("user", " 春眠 "), ("assistant", "<think>so</think>\n不覺曉 {{ x }}"), ("user", "100 % <b>\n")]
    messages = [{"role": role, "content": text} for role, text in [("system", "Be brief."), *said][not system :]]
    values = {"bos_token": "<s>", "eos_token": "</s>", "tools": None}
    theirs, _ = chat_templates.render_jinja_template(
        [messages], chat_template=template, add_generation_prompt=answer, **values
    )
    assert render(template, {"messages": messages, "add_generation_prompt": answer, **values}) == theirs[0]


@pytest.mark.parametrize(
    "template",
    [
        (
            "{% set c = namespace(v='x' * 0 ~ 'ab') %}"
            "{% for i in range(40) %}{% set c.v = namespace(a=c.v, b=c.v) %}{% endfor %}{{ c.v }}"
        ),
        "{% macro m() %}" + "x" * 10_000 + "{% endmacro %}{% for i in range(1000) %}{% set t = m() %}{% endfor %}1",
        "{% for i in range(1000) %}{% set t %}" + "y" * 10_000 + "{% endset %}{% endfor %}1",
        "{% set b %}" + "z" * 100_000 + "{% endset %}{% for i in range(2000) %}{% set a = b|upper %}{% endfor %}1",
    ],
    ids=["namespaces in namespaces", "a macro's own words", "a block's own words", "many large values"],
)
def test_what_a_template_hoards_is_counted(template: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidRecipe):
        render(template, {})
    assert time.monotonic() - began < 30


def test_a_publishers_template_may_ask_for_what_a_message_has_not() -> None:
    template = "{% for m in messages %}{% if not m.tool_calls %}{{ m.content }}{% endif %}{% endfor %}"
    assert render(template, {"messages": [{"content": "hi"}]}, lenient=True) == "hi"
    with pytest.raises(InvalidRecipe):
        render(template, {"messages": [{"content": "hi"}]})
