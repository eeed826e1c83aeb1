"""The authors' `.npy` files: object arrays, read without running what their pickles ask for."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from modecollapse.completions.unpickler import NUMERIC_DICTS, STRINGS, Admission, Array, Refused, decode
from modecollapse.errors import StudyError

MAX_BYTES = 1 << 29
"""512 MiB, some 250 times the largest published file; reading takes about five times that in memory."""
MAX_DEPTH = 8
"""Of dictionaries within dictionaries."""

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[^']{1,32})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[\d, ]{0,200})\), \} *\n"
)


def read_string_lists(path: Path) -> tuple[tuple[int, ...], list[list[str]]]:
    """Shape and elements (in C order) of an object array whose every element is a list of strings.

    Raises:
        StudyError: no such file, or it holds anything else; nothing in it is ever executed.
    """
    array = _read(path, STRINGS)
    elements: list[list[str]] = []
    for index, element in enumerate(array.data or []):
        if not isinstance(element, list):
            raise refuse(path, f"{_kind(element)} as {_place(index, array)}", STRINGS.holds)
        for text in element:
            if not isinstance(text, str):
                raise refuse(path, f"a list with {_kind(text)} in it as {_place(index, array)}", STRINGS.holds)
        elements.append(element)
    return array.shape, elements


def read_numeric_dict(path: Path) -> dict[str, Any]:
    """The dictionary in a 0-d object array: values are numeric numpy arrays or again such dictionaries.

    Raises:
        StudyError: no such file, or it holds anything else; nothing in it is ever executed.
    """
    array = _read(path, NUMERIC_DICTS)
    if array.shape != () or not isinstance(array.data, list) or not isinstance(array.data[0], dict):
        raise refuse(path, f"an array of shape {array.shape}", NUMERIC_DICTS.holds)
    return {key: _numeric(path, value, key, 1) for key, value in array.data[0].items()}


def refuse(path: Path, found: str, allowed: str) -> StudyError:
    """The error for a file that holds `found` where only `allowed` is."""
    return StudyError(
        f"{path} holds {found}. Allowed: {allowed}. Point to another file, or fetch this one anew from its source."
    )


def _numeric(path: Path, value: Any, key: str, depth: int) -> Any:
    if isinstance(value, dict) and depth < MAX_DEPTH:
        return {name: _numeric(path, inner, f"{key}.{name}", depth + 1) for name, inner in value.items()}
    if isinstance(value, Array) and value.dtype is not None and isinstance(value.data, bytes):
        return np.frombuffer(value.data, dtype=f"{value.dtype.order}{value.dtype.code}").reshape(value.shape)
    raise refuse(path, f"{_kind(value)} as {key!r}", NUMERIC_DICTS.holds)


def _read(path: Path, admission: Admission) -> Array:
    data = read_bytes(path)
    try:
        start, shape = _read_header(data)
        array = decode(data[start:], admission)
        if array.shape != shape:
            raise Refused(f"an array of shape {array.shape} under a header that says {shape}")
    except Refused as error:
        raise refuse(path, str(error), admission.holds) from error
    return array


def read_bytes(path: Path) -> bytes:
    """The content of a file of at most `MAX_BYTES`.

    Raises:
        StudyError: it is missing, a directory, too large or unreadable; the message lists what lies beside it.
    """
    try:
        if path.is_file():
            if (size := path.stat().st_size) > MAX_BYTES:
                raise refuse(path, f"{size:,} bytes", f"files of at most {MAX_BYTES:,} bytes")
            return path.read_bytes()
        folder = path if path.is_dir() else path.parent
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    found = "is a directory" if path.is_dir() else "does not exist"
    beside = f"{folder} holds {', '.join(names[:12]) or 'no files'}" if folder.is_dir() else f"nor does {folder}"
    raise StudyError(f"{path} {found}; {beside}. Name one file of completions for each prompt set.")


def _read_header(data: bytes) -> tuple[int, tuple[int, ...]]:
    """Where the pickle starts, and the shape that the header promises. Parsed by a pattern: nothing is evaluated."""
    if data[:6] != _MAGIC or len(data) < 12:
        raise Refused("no numpy array (it does not begin as an .npy file does)")
    width = 2 if data[6] == 1 else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    header = _HEADER.fullmatch(data[8 + width : start].decode("latin-1"))
    if header is None or start > len(data):
        raise Refused("an .npy header that is damaged or describes a structured type")
    shape = tuple(int(n) for n in re.findall(r"\d+", header["shape"]))
    if header["descr"] != "|O":
        raise Refused(f"a numpy array of type {header['descr']!r} and shape {shape}")
    if header["fortran"] == "True":
        raise Refused("an array in Fortran order (save numpy.ascontiguousarray of it)")
    return start, shape


def _place(index: int, array: Array) -> str:
    where = np.unravel_index(index, array.shape) if array.shape else ()
    return f"element {tuple(int(i) for i in where)}"


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"
