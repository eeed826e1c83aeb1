"""The files that make up a model directory, and taking some of them over."""

import shutil
from pathlib import Path

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


def copy_files(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy those of `names` that `source` has."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer as it stands: saving it anew would write the library's opinion of it, and its path."""
    copy_files(source, target, TOKENIZER_FILES)
