"""A pickle machine that can build numpy arrays of plain data, and can do nothing else.

A pickle is a program, and Python's own machine calls whatever function the program names. This one calls nothing: a
global is a pair of names, `_reconstruct` and `dtype` are recognised by name and become the inert `Array` and `DType`,
and every other global or opcode is refused when it is met. Opcodes are decoded by `pickletools.genops`, which only
reads. Memory is bounded by the size of the data: each node costs at least one byte of it, the memo is a dictionary
(an index near 2³² costs one entry), and a container may stand in one place only, so the result is a tree without cycles
whose size is that of the data.
"""

import math
import pickletools
import struct
from dataclasses import dataclass
from typing import Any

_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_RECONSTRUCT = {(module, "_reconstruct") for module in _NUMPY_CORE}
_NDARRAY = ("numpy", "ndarray")
_DTYPE = ("numpy", "dtype")
_ADMITTED_GLOBALS = {*_RECONSTRUCT, _NDARRAY, _DTYPE}

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {"BININT", "BININT1", "BININT2", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Refused(Exception):
    """The data is not what was asked for. The message says what was found, as the end of 'it holds …'."""


@dataclass(frozen=True)
class Admission:
    """What arrays may hold: the two allow-lists are `STRINGS` and `NUMERIC_DICTS`."""

    holds: str
    """In words, for messages."""
    dtypes: frozenset[str]
    """Numpy type codes as they stand in a pickle, e.g. "O8" for objects and "f4" for float32."""
    dicts: bool


STRINGS = Admission("a numpy object array of lists of strings", frozenset({"O8"}), dicts=False)
NUMERIC_DICTS = Admission(
    "nested dictionaries of numeric numpy arrays",
    frozenset({"O8", "b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"}),
    dicts=True,
)


@dataclass(frozen=True)
class Global:
    """A name in a pickle. It is compared with other names and never looked up."""

    module: str
    name: str


@dataclass
class DType:
    """Stands in for `numpy.dtype`: a type code, and the byte order ("<", ">" or "|") once it is known."""

    code: str
    order: str | None = None

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self.code[1:])


@dataclass
class Array:
    """Stands in for `numpy.ndarray`: its shape, and its elements in C order: a list of objects, or bytes of numbers."""

    shape: tuple[int, ...] = ()
    dtype: DType | None = None
    data: list[Any] | bytes | None = None


def decode(data: bytes, admission: Admission) -> Array:
    """The one array that the pickle `data` builds, as an inert tree.

    Raises:
        Refused: a global, opcode or numpy type outside the allow-list; truncated or trailing data; not a pickle; or
            something else than an array.
    """
    machine = _Machine(admission)
    try:
        end = machine.run(data)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise Refused(f"a damaged or incomplete pickle ({error})") from error
    if end != len(data):
        raise Refused(f"{len(data) - end:,} bytes after the end of its pickle")
    return machine.result()


class _Machine:
    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each open mark
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> int:
        """Execute up to the STOP opcode; returns the offset of the first byte after it."""
        position = 0
        for opcode, argument, at in pickletools.genops(data):
            position = at or 0
            self.step(opcode.name, argument)
        return position + 1

    def result(self) -> Array:
        if self.below or len(self.stack) != 1 or not isinstance(self.stack[0], Array) or self.stack[0].dtype is None:
            raise Refused(f"a pickle of {_describe(self.stack[-1] if self.stack else None)} instead of a numpy array")
        return self.stack[0]

    def step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.get(argument)
        elif name == "MARK":
            self.below.append(self.stack)
            self.stack = []
        elif name in ("EMPTY_LIST", "APPEND", "APPENDS"):
            self.step_list(name)
        elif self.admission.dicts and name in ("EMPTY_DICT", "SETITEM", "SETITEMS"):
            self.step_dict(name)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self.pop(_TUPLES[name])))
        elif name == "TUPLE":
            items = self.pop_mark()
            self.stack.append(tuple(items))
        elif name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            self.stack.append(_admitted(module, attribute))
        elif name == "STACK_GLOBAL":
            self.stack.append(_admitted(*self.pop(2)))
        elif name == "REDUCE":
            self.stack.append(self.reduced(*self.pop(2)))
        elif name == "BUILD":
            (state,) = self.pop(1)
            self.build(self.stack[-1], state)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise Refused(f"a pickle with the opcode {name}, which {self.admission.holds} does not need")

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError("its stack runs empty")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def get(self, index: int) -> None:
        value = self.memo[index]
        # Sharing is where a small pickle hides a huge or endless result.
        if isinstance(value, (list, dict, Array)):
            raise Refused(f"one and the same {_describe(value)} in two places")
        self.stack.append(value)

    def step_list(self, name: str) -> None:
        if name == "EMPTY_LIST":
            self.stack.append([])
            return
        items = self.pop_mark() if name == "APPENDS" else self.pop(1)
        target = self.stack[-1]
        if not isinstance(target, list):
            raise Refused(f"a pickle that appends to {_describe(target)}")
        target.extend(items)

    def step_dict(self, name: str) -> None:
        if name == "EMPTY_DICT":
            self.stack.append({})
            return
        items = self.pop_mark() if name == "SETITEMS" else self.pop(2)
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Refused(f"a pickle that sets items of {_describe(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise Refused(f"a dictionary whose keys include {_describe(key)}")
            target[key] = value

    def reduced(self, function: Any, arguments: Any) -> DType | Array:
        """What calling `function` would have made; recognised, not called."""
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise Refused(f"a pickle that calls {_describe(function)}")
        called = (function.module, function.name)
        if called in _RECONSTRUCT and arguments[:1] == (Global(*_NDARRAY),):
            return Array()
        if called == _DTYPE and arguments and isinstance(arguments[0], str):
            if arguments[0] not in self.admission.dtypes:
                raise Refused(f"a numpy array of type {arguments[0]!r}")
            return DType(arguments[0])
        raise Refused(f"a pickle that calls {function.module}.{function.name} in an unusual way")

    def build(self, target: Any, state: Any) -> None:
        if isinstance(target, DType) and target.order is None:
            if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|"):
                raise Refused("a numpy type without a byte order")
            if state[2:5] not in ((), (None, None, None)):
                raise Refused("a structured numpy type")
            target.order = state[1]
        elif isinstance(target, Array) and target.dtype is None:
            self.build_array(target, state)
        else:
            raise Refused(f"a pickle that sets the state of {_describe(target)}")

    def build_array(self, target: Array, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused("a numpy array whose state is not understood")
        _, shape, dtype, fortran, data = state
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise Refused("a numpy array without a shape")
        if not isinstance(dtype, DType) or dtype.order is None:
            raise Refused("a numpy array without a type")
        if fortran is not False:
            raise Refused("a numpy array in Fortran order (save numpy.ascontiguousarray of it)")
        kind, size = (list, 1) if dtype.code == "O8" else (bytes, dtype.itemsize)
        if len(shape) > 64:  # numpy's own limit; the product of a long shape would take for ever
            raise Refused(f"a numpy array of {len(shape):,} dimensions")
        if not isinstance(data, kind) or len(data) != math.prod(shape) * size:
            raise Refused(f"a numpy array of shape {shape} whose elements are not {math.prod(shape):,} in number")
        target.shape, target.dtype, target.data = shape, dtype, data


def _admitted(module: Any, name: Any) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise Refused("a pickle that names something by a value that is no string")
    if (module, name) not in _ADMITTED_GLOBALS:
        raise Refused(f"a pickle that asks for {module}.{name}, which could run code (nothing was run)")
    return Global(module, name)


def _describe(value: Any) -> str:
    if isinstance(value, Global):
        return f"{value.module}.{value.name}"
    names = {Array: "numpy array", DType: "numpy type", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)
