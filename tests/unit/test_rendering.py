"""From a prompt to a model's tokens: chat templates, one beginning-of-text token, no end-of-text before an answer."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from modecollapse.errors import StudyError
from modecollapse.format_config import FORMATS
from modecollapse.generation.models import load_tokenizer
from modecollapse.methods.model_files import copy_tokenizer, has_chat_template
from modecollapse.prompts import TURNS, Chat, PromptFormat
from modecollapse.rendering import chat_markers, joint, render, token_ids
from tests.tiny_models import save_llama, save_neox

CHAT = PromptFormat("chat", Chat())
ARCHANGEL = PromptFormat("archangel", "<|user|>\n{prompt}\n<|assistant|>\n{start}")
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(save_llama(tmp_path_factory.mktemp("llama")))


@pytest.fixture(scope="module")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(save_neox(tmp_path_factory.mktemp("neox")))


def chat(template: str | None = None, system: str | None = None) -> PromptFormat:
    return PromptFormat("mine", Chat(system, template))


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("human", "", "Human: Why? Assistant:"),
        ("human", "Well", "Human: Why? Assistant: Well"),
        ("okay", "", "Why? Okay, here goes:"),
        ("qa", "", "Question: Why? Answer:"),
        ("plain", "", "Why?"),
        ("plain", "Well ", "Why? Well"),
    ],
)
def test_built_in_formats_end_without_a_space_and_are_their_own_spec(neox, name, start, expected) -> None:
    form = PromptFormat(name, FORMATS[name])
    assert render(form, neox, "Why?", start) == expected
    assert form.spec == FORMATS[name]
    assert PromptFormat.from_spec(name, form.spec) == form


def test_a_line_break_at_the_end_of_a_format_stays_and_an_answer_follows_without_a_space(neox) -> None:
    assert render(ARCHANGEL, neox, "Why?") == "<|user|>\nWhy?\n<|assistant|>\n"
    assert render(ARCHANGEL, neox, "Why?", "Well ") == "<|user|>\nWhy?\n<|assistant|>\nWell"
    assert joint("<|assistant|>\n") == ""
    assert joint("Assistant:") == " "
    # A line break of the prompt's own is no part of the format.
    assert render(PromptFormat("plain", FORMATS["plain"]), neox, "Why?\n") == "Why?"


def test_a_format_that_ends_with_a_line_break_has_another_spec_than_when_it_lost_it() -> None:
    assert ARCHANGEL.spec == {"template": ARCHANGEL.template, "end": "\n"}
    assert PromptFormat.from_spec("archangel", ARCHANGEL.spec) == ARCHANGEL


def test_a_chat_format_is_the_tokenizers_own_template_with_the_start_of_the_answer_appended(llama) -> None:
    expected = llama.apply_chat_template(
        [{"role": "user", "content": "Why?"}], add_generation_prompt=True, tokenize=False
    )
    assert render(CHAT, llama, "Why?") == expected == "<s>[INST] Why? [/INST]"
    assert render(CHAT, llama, "Why?", "Well ") == "<s>[INST] Why? [/INST] Well"
    assert render(chat(system="Be brief."), llama, "Why?") == "<s><<SYS>> Be brief. <</SYS>> [INST] Why? [/INST]"
    assert render(chat(ZEPHYR), llama, "Why?", "Well") == "<|user|>\nWhy?</s>\n<|assistant|>\nWell"


def test_a_chat_format_can_be_read_back_from_its_spec() -> None:
    for form in (CHAT, chat(ZEPHYR, "Be brief.")):
        assert PromptFormat.from_spec(form.name, json.loads(json.dumps(form.spec))) == form


def test_every_text_has_one_beginning_of_text_token_where_the_tokenizer_has_one_to_add(llama, neox) -> None:
    bos = llama.bos_token_id
    rendered = [render(CHAT, llama, "Why?"), render(ARCHANGEL, llama, "Why?"), ""]
    ids = token_ids(llama, rendered)
    assert [row.count(bos) for row in ids] == [1, 1, 1]
    assert [row[0] for row in ids] == [bos] * 3
    assert ids[0] == llama.apply_chat_template(
        [{"role": "user", "content": "Why?"}], add_generation_prompt=True, return_dict=False
    )
    texts = ["Why?", "<|endoftext|>Why?", ""]
    assert token_ids(neox, texts) == neox(texts)["input_ids"], "a tokenizer that adds none stays as it is"


def test_an_end_of_text_token_that_the_tokenizer_appends_is_taken_off_but_not_one_of_the_text(llama) -> None:
    ending = copy.deepcopy(llama)
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert ending("Why?")["input_ids"][-1] == 2
    texts = ["Why?", "Why?</s>", "<s>Why?"]
    assert token_ids(ending, texts) == token_ids(llama, texts)
    assert token_ids(ending, texts)[1][-1] == 2


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, ("[INST]", "[/INST]")),
        (ZEPHYR.replace("messages", "messages[:1]"), ("<|user|>", "<|assistant|>")),
        (ZEPHYR, ("<|user|>", "<|assistant|>")),
        ("{% for m in messages %}{{ m.role }}\n{{ m.content }}\n{% endfor %}", ()),
        ("{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n{% endfor %}", ("### user:",)),
    ],
)
def test_what_a_template_puts_between_turns_marks_them_in_completions(llama, template, expected) -> None:
    assert chat_markers(chat(template), llama) == expected
    assert chat_markers(chat(template, "Be brief."), llama) == expected


def test_turns_are_marked_by_what_follows_an_answer_also_where_a_template_refuses_a_system_message(llama) -> None:
    assert chat_markers(chat(LLAMA_2), llama) == ("[INST]", "[/INST]")


def test_the_marks_of_turns_of_a_text_are_lines_with_a_colon_or_brackets() -> None:
    assert ARCHANGEL.markers == (*TURNS, "<|user|>", "<|assistant|>")
    assert PromptFormat("mine", "Below.\n### Ask:\n{prompt}\n### Answer:\n{start}").markers == (
        *TURNS,
        "### Ask:",
        "### Answer:",
    )
    assert PromptFormat("okay", FORMATS["okay"]).markers == (*TURNS, "Okay, here goes:")
    assert CHAT.markers == TURNS
    assert chat_markers(ARCHANGEL, None) == ()


def test_a_template_that_asks_for_the_date_gets_the_same_one_every_day(llama) -> None:
    dated = chat("{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}")
    assert render(dated, llama, "Why?") == "26 Jul 2024 Why?"


BAD = {
    "no template": (None, None, ["has no chat template", "'mine'", "formats: {NAME: {template: …}}"]),
    "raises": (LLAMA_2, "Be brief.", ["cannot be rendered", "'mine'", "Only user and assistant roles"]),
    "raises something else": ("{{ messages[0].content / 2 }}", None, ["cannot be rendered", "TypeError"]),
    "without the prompt": ("{{ messages | length }}", None, ["leaves the prompt 'Why?' out", "it gives '1'"]),
    "without the system message": (
        "{{ messages[-1].content }}",
        "Be brief.",
        ["leaves the system message 'Be brief.' out"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_prompt_that_cannot_be_put_into_a_chat_is_one_clear_error(neox, case) -> None:
    template, system, words = BAD[case]
    with pytest.raises(StudyError) as error:
        render(chat(template, system), neox, "Why?")
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("where", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_chat_template_is_found_and_taken_over_wherever_it_stands(tmp_path: Path, where: str) -> None:
    source = save_llama(tmp_path / "source")
    if where == "tokenizer_config.json":
        settings = json.loads((source / where).read_text())
        settings["chat_template"] = (source / "chat_template.jinja").read_text()
        (source / "chat_template.jinja").unlink()
        (source / where).write_text(json.dumps(settings))
    assert has_chat_template(source)
    (tmp_path / "copy").mkdir()
    copy_tokenizer(source, tmp_path / "copy")
    assert render(CHAT, load_tokenizer(tmp_path / "copy"), "Why?") == "<s>[INST] Why? [/INST]"
    assert not has_chat_template(save_llama(tmp_path / "without", chat_template=None))
