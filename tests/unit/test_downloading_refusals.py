"""What the hub will not give, and what could never be used, is refused with one message and without a token."""

import logging
from pathlib import Path
from typing import Any

import pytest

from modecollapse.errors import StudyError
from modecollapse.jobs.downloading import download, require_downloads
from tests import pretend_hub
from tests.downloads import MODEL, NAME, PARTS, again, data_study, study_of, tensors
from tests.pretend_hub import PretendHub, Repository


def _gated(hub: PretendHub) -> Repository:
    repository = hub.repository(NAME, gated=True)
    repository.push(MODEL)
    return repository


def test_a_gated_model_without_a_token_names_the_page_and_the_variable(hub: PretendHub, tmp_path: Path) -> None:
    _gated(hub)
    with pytest.raises(StudyError, match=rf"gated, and no token is set.*huggingface\.co/{NAME}.*HF_TOKEN"):
        download(study_of(tmp_path))


def test_a_gated_model_with_a_token_without_access_says_so_without_the_token(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _gated(hub)
    pretend_hub.use(monkeypatch, cache, hub, token="hf_secretOfSomebody")
    with caplog.at_level(logging.DEBUG), pytest.raises(StudyError, match="has no access") as caught:
        download(study_of(tmp_path))
    assert "hf_secret" not in str(caught.value) + caplog.text
    pretend_hub.use(monkeypatch, cache, hub, token=hub.token)
    assert "1 of 1" in download(again(study_of(tmp_path)))


@pytest.mark.parametrize(
    ("status", "word"), [(401, "does not know the token"), (403, "Accept its licence"), (429, "429"), (418, "418")]
)
def test_a_refusal_is_one_message_without_the_token(
    hub: PretendHub,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    word: str,
) -> None:
    pretend_hub.use(monkeypatch, cache, hub, token="hf_secretOfSomebody")
    hub.repository(NAME).push(MODEL)
    hub.status = status
    with caplog.at_level(logging.DEBUG), pytest.raises(StudyError) as caught:
        download(study_of(tmp_path))
    assert word in str(caught.value) or (status == 401 and "may not see it" in str(caught.value))
    assert "hf_secret" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


def test_a_token_that_cannot_be_one_is_refused_and_not_shown(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache, hub, token="hf_secret\u00fcOfSomebody")
    with pytest.raises(StudyError, match="characters that no token has") as caught:
        download(study_of(tmp_path))
    assert "hf_secret" not in str(caught.value)


def test_a_repository_and_a_revision_that_do_not_exist_are_each_named(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push(MODEL)
    other = {"method": "checkpoint", "source": {"hub": "someone/else"}}
    with pytest.raises(StudyError) as caught:
        download(study_of(tmp_path, {"hub": NAME, "revision": "step1"}, other=other))
    first, second = str(caught.value).split("\n\n")
    assert f"{NAME}@step1: the repository has no such branch, tag or commit" in first
    assert "someone/else@main: there is no such model on the hub, or it is private and HF_TOKEN is not set" in second


def test_a_repository_without_weights_is_refused(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push({"config.json": b"{}", "consolidated.00.pth": b"x"})
    with pytest.raises(StudyError, match=r"no weights of a kind that is read.*It holds config\.json, consolidated"):
        download(study_of(tmp_path))


UNUSABLE = {
    "code of its own": (
        {"config.json": b'{"model_type": "own", "auto_map": {"AutoModel": "own.Own"}}'},
        "no remote code is ever run: .* of the type 'own'",
    ),
    "no tokenizer": ({"tokenizer.json": None}, "has no tokenizer"),
    "a broken configuration": ({"config.json": b"{"}, r"config\.json cannot be read"),
    "weights that were cut off": ({"model.safetensors": tensors()[:-1]}, r"model\.safetensors cannot be read"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_model_that_can_never_be_used_is_refused_by_the_download_and_before_any_job(
    hub: PretendHub, tmp_path: Path, case: str
) -> None:
    changes, word = UNUSABLE[case]
    hub.repository(NAME).push({name: data for name, data in {**MODEL, **changes}.items() if data is not None})
    study = study_of(tmp_path)
    with pytest.raises(StudyError, match=rf"stages\.base\.source \({NAME}@main\): .*{word}.*name another repository"):
        download(study)
    study = again(study)
    with pytest.raises(StudyError, match=word):
        require_downloads(study, study.needed())


def test_a_model_that_once_had_code_of_its_own_is_used_where_its_type_is_known_now(
    hub: PretendHub, tmp_path: Path
) -> None:
    config = b'{"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "own.Own"}}'
    hub.repository(NAME).push({**MODEL, "config.json": config})
    assert "1 of 1" in download(study_of(tmp_path))


def test_adapters_and_gguf_files_that_can_never_be_used_are_refused_by_the_download(
    hub: PretendHub, tmp_path: Path
) -> None:
    hub.repository(NAME).push({**MODEL, "a.gguf": b"hello"})
    hub.repository("someone/adapter").push(
        {"adapter_config.json": b'{"peft_type": "IA3"}', "adapter_model.safetensors": tensors()}
    )
    with pytest.raises(StudyError, match=r"stages\.base\.source .*a\.gguf is not a GGUF file"):
        download(study_of(tmp_path / "a", {"hub": NAME, "gguf": "a.gguf"}))
    tuned = {"method": "adapter", "from": "base", "source": {"hub": "someone/adapter"}}
    with pytest.raises(StudyError, match=r"stages\.tuned\.source .*peft_type: found 'IA3'"):
        download(study_of(tmp_path / "b", tuned=tuned))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"split": "test"}, "split: the data set has no 'test'"),
        ({"subset": "other"}, "`datasets` finds no files in the data set"),
        ({"files": "notes.txt"}, r"notes\.txt: its format is not known"),
        ({"columns": {"text": "body"}}, r"data\.texts\.columns: the first row of .* has no 'body'; it has text"),
    ],
)
def test_a_data_set_that_can_never_be_read_is_refused_by_the_download_and_before_any_job(
    hub: PretendHub, tmp_path: Path, data: dict[str, Any], word: str
) -> None:
    hub.repository(NAME, kind="dataset").push({**PARTS, "notes.txt": b"x"})
    study = data_study(tmp_path, **data)
    with pytest.raises(StudyError, match=word):
        download(study)
    study = again(study)
    with pytest.raises(StudyError, match=word):
        require_downloads(study, study.needed())


@pytest.mark.parametrize("name", ["a/{sise}", "../..", "a/.b", "a/b--c"])
def test_an_id_that_no_repository_can_have_is_refused_by_the_download_too(
    hub: PretendHub, tmp_path: Path, name: str
) -> None:
    with pytest.raises(StudyError, match=r"hub: found .*Allowed: OWNER/NAME"):
        download(study_of(tmp_path, {"hub": name}))
