"""YAML as people expect it: 1e-6 is a number, a key given twice is an error, and nothing but JSON types exists."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from modecollapse.errors import StudyError


class _Loader(yaml.SafeLoader):
    pass


# YAML 1.1 reads 1e-6 as a string, 1:30 as 90, 010 as 8 and 2024-01-01 as a date; use the numbers of YAML 1.2, no dates.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,300})$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        # A study is read as JSON, whose keys are strings: 1 and "1" are the same one.
        key = key if isinstance(key, str) else json.dumps(key)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _refused(loader: _Loader, node: yaml.Node) -> Any:
    raise yaml.constructor.ConstructorError(None, None, f"{node.tag} is not used in study files", node.start_mark)


for _kind in ("set", "timestamp", "binary", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _refused)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        StudyError: no such file, not YAML, a key given twice, or something else than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read: {error}. Check the name, or restore the file.") from error
    try:
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader: it builds nothing but plain data
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}. Mend the line that is named.") from error
    if not isinstance(value, dict):
        raise StudyError(
            f"{path} holds {type(value).__name__}, not a mapping of keys to values. Write lines `key: value`."
        )
    return value


def quoted(text: str) -> str:
    """`text` as YAML that every reader takes for this string: as it is, or in quotes."""
    try:
        # A number, true or null is quoted, and so are 1e5 and 0o7, which only some readers take for numbers.
        plain = re.fullmatch(r"[A-Za-z][\w./-]*|[0-9a-f]*[a-df][0-9a-f]*", text) is not None
        plain = plain and yaml.load(text, Loader=_Loader) == text
    except yaml.YAMLError:
        plain = False
    return text if plain else json.dumps(text)
