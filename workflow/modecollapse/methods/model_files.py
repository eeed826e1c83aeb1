"""The files that make up a model directory, and taking some of them over."""

import json
import shutil
from pathlib import Path

from modecollapse.errors import StudyError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
"""Files of a Hugging Face tokenizer; which of them exist depends on its kind."""


def has_chat_template(directory: Path) -> bool:
    """Whether a model directory's tokenizer files hold a chat template; no library is loaded to tell.

    Raises:
        StudyError: `tokenizer_config.json` is no JSON object.
    """
    if (directory / "chat_template.jinja").is_file():
        return True
    path = directory / "tokenizer_config.json"
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError) as error:
        raise StudyError(f"{path} cannot be read: {error}. Name a complete Hugging Face model directory.") from error


def copy_files(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy those of `names` that `source` has."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer as it stands: saving it anew would write the library's opinion of it, and its path."""
    copy_files(source, target, TOKENIZER_FILES)
