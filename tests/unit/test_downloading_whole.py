"""A snapshot counts only if every file that is needed is there in full."""

from pathlib import Path
from typing import Any

import pytest

from modecollapse.errors import StudyError
from modecollapse.jobs.data import files_of
from modecollapse.jobs.downloading import download, require_downloads
from modecollapse.snapshots import snapshot
from tests import pretend_hub
from tests.downloads import MODEL, NAME, PARTS, again, data_study, gguf, study_of
from tests.pretend_hub import PretendHub


def test_a_download_that_was_killed_after_its_first_file_is_neither_complete_nor_read(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    hub.repository(NAME, kind="dataset").push(PARTS)
    study = data_study(tmp_path)

    def killed(
        *args: Any, allow_patterns: list[str], fetch: Any = huggingface_hub.snapshot_download, **more: Any
    ) -> Any:
        fetch(*args, allow_patterns=allow_patterns[:1], **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "snapshot_download", killed)
        with pytest.raises(KeyboardInterrupt):
            download(study)
    study = again(study)
    lacks = (
        rf"{NAME}@main: commit [0-9a-f]+ is not complete.* lacks data/train-00001-of-00003.jsonl, data/train-00002.*"
    )
    with pytest.raises(StudyError, match=lacks + "Run `snakemake download --config study="):
        require_downloads(study, study.needed())
    with pytest.raises(StudyError, match=lacks):
        files_of(study, "texts")
    with monkeypatch.context() as patch:
        pretend_hub.use(patch, cache)
        with pytest.raises(StudyError, match=lacks + "HF_HUB_OFFLINE=0"):
            download(study)
    assert "1 of 1" in download(study)
    require_downloads(study, study.needed())
    assert [file.name for file in files_of(study, "texts")] == [Path(name).name for name in PARTS]


def test_what_was_fetched_for_other_files_of_a_repository_is_not_complete(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME, kind="dataset").push(PARTS)
    first = data_study(tmp_path, files="data/train-00000*")
    download(first)
    require_downloads(again(first), first.needed())
    whole = data_study(tmp_path)
    with pytest.raises(StudyError, match=r"lacks data/train-00001-of-00003\.jsonl, data/train-00002"):
        require_downloads(whole, whole.needed())
    hub.repository(NAME).push({**MODEL, "tiny.gguf": gguf()})
    other = tmp_path / "other"
    download(study_of(other, {"hub": NAME, "gguf": "tiny.gguf"}))
    model = again(study_of(other))
    with pytest.raises(StudyError, match=r"lacks config\.json, tokenizer\.json"):
        require_downloads(model, model.needed())


def test_a_tokenizers_file_that_vanished_and_one_that_was_cut_off_are_missed_and_fetched_again(
    hub: PretendHub, tmp_path: Path
) -> None:
    hub.repository(NAME).push({**MODEL, "tokenizer_config.json": b'{"chat_template": "x"}'})
    study = study_of(tmp_path)
    download(study)
    study = again(study)
    directory = snapshot(study.needed()[0], study.lock.commit(study.revisions()[0]), "own")
    (directory / "tokenizer_config.json").unlink()
    (directory / "tokenizer.json").write_bytes(b"{")
    with pytest.raises(StudyError, match=r"lacks tokenizer\.json, tokenizer_config\.json"):
        require_downloads(study, study.needed())
    download(study)
    require_downloads(study, study.needed())
    assert (directory / "tokenizer.json").read_bytes() == b"{ }"


def test_a_cache_without_the_list_of_a_commits_files_is_made_whole_by_one_download_with_a_network(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repository(NAME).push(MODEL)
    pretend_hub.cache_repository(cache, NAME, MODEL, listed=False)
    study = study_of(tmp_path)
    with monkeypatch.context() as patch:
        pretend_hub.use(patch, cache)
        with pytest.raises(StudyError, match=r"but not the list of them.*HF_HUB_OFFLINE=0"):
            download(study)
        with pytest.raises(StudyError, match=r"but not the list of them.*Run `snakemake download"):
            require_downloads(again(study), study.needed())
    assert "1 of 1" in download(again(study))
    assert hub.downloads() == []
    require_downloads(again(study), study.needed())
