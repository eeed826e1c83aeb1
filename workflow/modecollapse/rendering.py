"""From a prompt to the very text and tokens that a model is given, in sampling as in training.

A tokenizer object is all that is needed, so that what is wrong with a chat template is known before weights are read.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any
from unittest.mock import patch

from modecollapse.errors import StudyError
from modecollapse.prompts import Chat, PromptFormat, turn_marks


class _Day(datetime):
    """The day on which chat templates are rendered that ask which day it is: results must not follow the calendar."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_Day":
        return cls(2024, 7, 26, tzinfo=tz)


_USER, _ANSWER, _AGAIN = "Qvtoz first.", "Qvtoz second.", "Qvtoz third."
"""Messages that stand for others where only what the template puts around them is wanted."""


def render(form: PromptFormat, tokenizer: Any, text: str, start: str = "") -> str:
    """The text given to the tokenizer: the prompt in its format, followed by the start of the answer.

    It never ends with a space, so that completions begin with one; a line break that the format ends with stays.

    Raises:
        StudyError: a chat format and no chat template, one that raises, or one that leaves the prompt or the system
            message out.
    """
    if not isinstance(form.template, Chat):
        return form.fill(text, start)
    rendered = _chat(form, tokenizer, [*_system(form.template), {"role": "user", "content": text}])
    for what, wanted in (("prompt", text), ("system message", form.template.system or "")):
        if wanted.strip() not in rendered:
            raise StudyError(
                f"The chat template of {_name(tokenizer)} leaves the {what} {wanted.strip()[:60]!r} out, or alters "
                f"it (prompt format {form.name!r}): it gives {rendered[:200]!r}. Use another format, or one with a "
                "template of its own: `formats: {NAME: {template: …}}`."
            )
    rendered = rendered.rstrip(" ")
    return (rendered + joint(rendered) + start).rstrip() if start.strip() else rendered


def joint(rendered: str) -> str:
    """What stands between a rendered prompt and its answer in training: a space, or nothing after a line break."""
    return "" if rendered[-1:].isspace() else " "


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of rendered prompts, with the special tokens that the tokenizer puts before a text, each once.

    A text that begins with the beginning-of-text token gets no second one, and an end-of-text token that the tokenizer
    appends is taken off again: an answer follows.
    """
    bos, eos = tokenizer.bos_token, tokenizer.eos_token_id
    ids: list[list[int]] = [[]] * len(texts)
    for special in (True, False):
        rows = [row for row, text in enumerate(texts) if special != bool(bos and text.startswith(bos))]
        if rows:
            found = tokenizer([texts[row] for row in rows], add_special_tokens=special)["input_ids"]
            for row, of_text in zip(rows, found, strict=True):
                ids[row] = list(of_text)
    if eos is not None:
        for row, text in enumerate(texts):
            if ids[row] and ids[row][-1] == eos:
                plain = tokenizer(text, add_special_tokens=False)["input_ids"]
                appended = _trailing(ids[row], eos) - _trailing(plain, eos)
                ids[row] = ids[row][: len(ids[row]) - max(0, appended)]
    return ids


def continued_ids(
    tokenizer: Any, rendered: Sequence[str], owners: Sequence[int], texts: Sequence[str]
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of rendered prompts, and of texts that a model wrote after them, as training on them would have them.

    A text is tokenized together with its prompt; where the tokenizer merges the two, by itself.

    Args:
        tokenizer: that of the model.
        rendered: the prompts.
        owners: for each text, the place of its prompt.
        texts: as the model wrote them, mostly with a space in front.
    """
    prompts = token_ids(tokenizer, rendered)
    whole = token_ids(tokenizer, [rendered[owner] + text for owner, text in zip(owners, texts, strict=True)])
    answers = []
    for owner, text, ids in zip(owners, texts, whole, strict=True):
        prompt = prompts[owner]
        if ids[: len(prompt)] == prompt:
            answers.append(ids[len(prompt) :])
        else:
            answers.append(list(tokenizer(text, add_special_tokens=False)["input_ids"]))
    return prompts, answers


def chat_markers(form: PromptFormat, tokenizer: Any) -> tuple[str, ...]:
    """What shows that a completion under this format runs into another turn, as far as the chat template decides it.

    The template's own words between an answer and the next prompt, and between that and its answer. Templates that
    know one turn only are read around that. Empty for formats that are no chats: theirs are `PromptFormat.markers`.
    """
    if not isinstance(form.template, Chat):
        return ()
    first = {"role": "user", "content": _USER}
    turns = [first, {"role": "assistant", "content": _ANSWER}, {"role": "user", "content": _AGAIN}]
    rendered = ""
    # A system message is said once, and is no mark of a turn; there may be templates that insist on one.
    for messages in (turns, [first], [*_system(form.template), first]):
        with suppress(StudyError):
            rendered = _chat(form, tokenizer, messages)
            if messages[-1]["content"] in rendered and (messages is not turns or _ANSWER in rendered):
                break
    after = rendered.split(_ANSWER)[-1]
    literals = after.split(_AGAIN) if _AGAIN in after else rendered.split(_USER)
    for special in (tokenizer.bos_token, tokenizer.eos_token):
        literals = [literal.replace(special, "\n") if special else literal for literal in literals]
    return tuple(dict.fromkeys(turn_marks(literals)))


def check_format(form: PromptFormat, tokenizer: Any) -> None:
    """Check that prompts can be put into this format.

    Raises:
        StudyError: as `render`.
    """
    render(form, tokenizer, _USER)


def _system(chat: Chat) -> list[dict[str, str]]:
    return [{"role": "system", "content": chat.system}] if chat.system else []


def _chat(form: PromptFormat, tokenizer: Any, messages: list[dict[str, str]]) -> str:
    assert isinstance(form.template, Chat)
    if form.template.template is None and not tokenizer.chat_template:
        raise no_template(_name(tokenizer), form.name)
    from transformers.utils import chat_template_utils

    try:
        # The library offers templates the clock, and no way to set it.
        with patch.object(chat_template_utils, "datetime", _Day):
            rendered: str = tokenizer.apply_chat_template(
                messages, chat_template=form.template.template, add_generation_prompt=True, tokenize=False
            )
    except Exception as error:  # a template is a program of others, and may raise whatever it likes
        whose = "of the study" if form.template.template else f"of {_name(tokenizer)}"
        raise StudyError(
            f"The chat template {whose} cannot be rendered (prompt format {form.name!r}): "
            f"{type(error).__name__}: {error}. Use another format, leave out a system message that the template does "
            "not allow, or give the format a template of its own: `formats: {NAME: {template: …}}`."
        ) from error
    return rendered


def no_template(model: str, form: str) -> StudyError:
    """The error for a model that is asked for the prompt format `form` and has no chat template."""
    return StudyError(
        f"{model} has no chat template, which the prompt format {form!r} asks for. Take the format from the stages of "
        "this model, or define one that brings its own template: `formats: {NAME: {template: …}}` (Jinja), or "
        '`formats: {NAME: "Human: {prompt} Assistant: {start}"}`.'
    )


def _name(tokenizer: Any) -> str:
    return str(tokenizer.name_or_path or "the tokenizer")


def _trailing(ids: Sequence[int], token: int) -> int:
    """How many of the last ids are `token`."""
    return next((count for count, found in enumerate(reversed(ids)) if found != token), len(ids))
