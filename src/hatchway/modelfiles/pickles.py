"""Reads a pickle without running it: what it would import, call and make.

A symbolic pickle machine: constants stand for themselves, names for what they would import, everything else is
`UNKNOWN`. What it cannot follow is a finding, never a guess: a name that is computed, a call of what is not a name.
joblib's files are pickles with raw arrays between the opcodes; an array of objects is another pickle in the middle.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hatchway.modelfiles.known_globals import ARRAY_WRAPPERS, is_known, may_call, python3_name
from hatchway.modelfiles.source import Source

MAX_OPCODES = 20_000_000  # 10 to 20 s
MAX_STACK = 4_000_000
MAX_KEPT = 1_000_000  # values the memo keeps; the others are UNKNOWN
MAX_TEXT_BYTES = 256  # of a text that is kept as itself
MAX_TUPLE = 64
MAX_NESTED_PICKLES = 100_000
_DTYPE = re.compile(r"([bifcuSUVOMm])(\d{1,9})")  # how numpy pickles them


class Damaged(Exception):
    """Not a pickle, or a damaged one."""


class Name(NamedTuple):
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_NOTHING: dict[str, Any] = {}


class Made:
    """What calling a name gives."""

    __slots__ = ("arguments", "is_built", "items", "of", "state")

    def __init__(self, of: Name, arguments: object = None) -> None:
        self.of = of
        self.arguments = arguments
        self.state: object = None
        self.is_built = False
        self.items: Fields | dict[str, Any] = _NOTHING  # of an OrderedDict


class Fields(dict[str, Any]):
    """A dict's entries with text keys. `has_others`: it has keys that are not known, too."""

    has_others = False


class Items(list[Any]):
    """The first items of a list or set."""


UNKNOWN = object()
_DTYPE_CLASS = Name("numpy", "dtype")
PARTIAL = Name("functools", "partial")  # its state names what it calls once more
_ORDERED_DICT = Name("collections", "OrderedDict")
_RECONSTRUCTOR = Name("copyreg", "_reconstructor")
_ARRAY_CLASS = Name("numpy", "ndarray")
_GROWING = frozenset(Name("builtins", name) for name in ("list", "set")) | {Name("collections", "deque")}
_DICTS = frozenset(
    {
        Name("builtins", "dict"),
        *(Name("collections", name) for name in ("Counter", "OrderedDict", "defaultdict")),
        Name("sklearn.utils._bunch", "Bunch"),
    }
)
# Texts in a state that choose what scikit-learn does later: the method it calls of an object's parts, and whether the
# texts of a request are contents or names of files.
_METHODS = frozenset({"auto", "default", "predict", "predict_proba", "predict_log_proba", "decision_function", "drop"})
CHOICES = {
    **dict.fromkeys(("stack_method", "stack_method_", "response_method", "_response_method"), _METHODS),
    **dict.fromkeys(("chain_method", "chain_method_"), _METHODS),
    "input": frozenset({"content", "file"}),
}
CHOOSERS = frozenset(
    {
        Name("sklearn.ensemble._stacking", "StackingClassifier"),
        Name("sklearn.ensemble._stacking", "StackingRegressor"),
        Name("sklearn.model_selection._classification_threshold", "FixedThresholdClassifier"),
        Name("sklearn.model_selection._classification_threshold", "TunedThresholdClassifierCV"),
        Name("sklearn.multioutput", "ClassifierChain"),
        Name("sklearn.multioutput", "RegressorChain"),
        *(Name("sklearn.metrics._scorer", f"_{kind}Scorer") for kind in ("", "Predict", "Proba", "Threshold")),
        *(Name("sklearn.feature_extraction.text", f"{kind}Vectorizer") for kind in ("Count", "Hashing", "Tfidf")),
    }
)


# An object with this attribute is, to NumPy, whatever memory it names: to read, and to write.
MEMORY = "__array_interface__"


@dataclass
class Findings:
    """What a pickle holds. `unsafe` keeps the order in which it was found."""

    names: dict[Name, None] = field(default_factory=dict)
    unsafe: dict[str, None] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)  # distribution -> version
    root: object = UNKNOWN  # a Name, a Made, a constant, Fields or UNKNOWN
    has_raw_arrays: bool = False  # joblib wrote it
    protocol: int = 0
    has_persistent_ids: bool = False  # allowed


def read_pickle(source: Source, *, has_persistent_ids: bool = False) -> Findings:
    """Raises Damaged, CutOff, Bomb, and what `source` raises.

    `has_persistent_ids`: as in torch's archives, where they name tensors' data; elsewhere they are a finding.
    """
    findings = Findings(has_persistent_ids=has_persistent_ids)
    counts = [0, 0]
    findings.root = _Machine(source, findings, counts).run()
    return findings


class _Machine:
    def __init__(self, source: Source, findings: Findings, counts: list[int]) -> None:
        self._source = source
        self._findings = findings
        self._counts = counts  # opcodes, nested pickles
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._n_memo = 0
        self._has_put = False
        self._frame_end = 0

    def run(self) -> object:
        read, counts = self._source.read, self._counts
        while True:
            code = read(1)
            counts[0] += 1
            if counts[0] > MAX_OPCODES:
                self._distrust(f"more than {MAX_OPCODES:,} steps, too many to check")
                return UNKNOWN
            if code == b".":
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise Damaged(f"there is no pickle opcode {code!r}")
            step(self)
            if len(self._stack) > MAX_STACK:
                raise Damaged("it piles up values without end")

    # --- the stack -------------------------------------------------------------------------------------------
    def _pop(self) -> Any:
        if not self._stack:
            raise Damaged("it takes a value from an empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise Damaged("it looks at an empty stack")
        return self._stack[-1]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        if not self._outer:
            raise Damaged("it goes back to a mark that is not there")
        items = self._stack
        self._stack = self._outer.pop()
        return items

    def mark(self) -> None:
        if len(self._outer) > MAX_STACK:
            raise Damaged("it piles up marks without end")
        self._outer.append(self._stack)
        self._stack = []

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def dup(self) -> None:
        top = self._top()
        self._push(UNKNOWN if isinstance(top, Items) else top)

    def pop_mark(self) -> None:
        self._since_mark()

    # --- numbers and texts -----------------------------------------------------------------------------------
    def _number(self, layout: str) -> int:
        return int(struct.unpack(layout, self._source.read(struct.calcsize(layout)))[0])

    def _text(self, size: int) -> None:
        if size > MAX_TEXT_BYTES:
            self._source.skip(size)
            self._push(UNKNOWN)
            return
        try:
            self._push(self._source.read(size).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise Damaged("a text is not UTF-8") from None

    def _old_text(self, size: int) -> None:
        """Of Python 2: it becomes text where it is ASCII, as it does for the unpickler."""
        self._text(size) if size <= MAX_TEXT_BYTES else self._skipped(size)

    def _skipped(self, size: int) -> None:
        if size < 0:
            raise Damaged("a length is negative")
        self._source.skip(size)
        self._push(UNKNOWN)

    def _int_line(self) -> None:
        line = self._source.line()
        if line in (b"00", b"01"):
            self._push(line == b"01")
            return
        if len(line) > 20:
            self._push(UNKNOWN)
            return
        try:
            self._push(int(line.rstrip(b"L")))
        except ValueError:
            raise Damaged("a number has no digits") from None

    def _line(self) -> None:
        self._source.line()
        self._push(UNKNOWN)

    def _text_line(self) -> None:
        line = self._source.line()
        if len(line) > MAX_TEXT_BYTES:
            self._push(UNKNOWN)
            return
        try:
            self._push(line.decode("raw-unicode-escape"))
        except UnicodeDecodeError:
            raise Damaged("a text is not readable") from None

    def _quoted_line(self) -> None:
        line = self._source.line().strip()
        plain = line[1:-1]
        is_plain = len(line) > 1 and line[:1] == line[-1:] and line[:1] in b"'\"" and b"\\" not in plain
        self._push(plain.decode("ascii", "replace") if is_plain and len(plain) <= MAX_TEXT_BYTES else UNKNOWN)

    def _long(self, size: int) -> None:
        if size < 0:
            raise Damaged("a length is negative")
        if size > 16:
            self._skipped(size)
        else:
            self._push(int.from_bytes(self._source.read(size), "little", signed=True))

    # --- memo ------------------------------------------------------------------------------------------------
    def _remember(self, index: int) -> None:
        value = self._top()
        if value is UNKNOWN or isinstance(value, Items) or len(self._memo) >= MAX_KEPT:
            self._memo.pop(index, None)
        else:
            self._memo[index] = value

    def memoize(self) -> None:
        self._remember(self._n_memo)
        self._n_memo += 1
        self._check_memo()

    def _put(self, index: int) -> None:
        self._remember(index)
        self._has_put = True
        self._check_memo()

    def _check_memo(self) -> None:
        """Used together, the places of one depend on how often the other repeats itself. No pickler does it."""
        if self._has_put and self._n_memo:
            self._distrust("a memo that is filled in two ways")

    def _get(self, index: int) -> None:
        self._push(self._memo.get(index, UNKNOWN))

    def _get_line(self) -> None:
        self._get(_index(self._source.line()))

    def _put_line(self) -> None:
        self._put(_index(self._source.line()))

    # --- containers ------------------------------------------------------------------------------------------
    def _tuple(self, items: list[Any]) -> None:
        self._push(tuple(items) if len(items) <= MAX_TUPLE else UNKNOWN)

    def tuple_mark(self) -> None:
        self._tuple(self._since_mark())

    def tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._tuple(items[::-1])

    def new_dict(self) -> None:
        self._push(Fields())

    def dict_mark(self) -> None:
        items = self._since_mark()
        self._push(Fields())
        self._set_items(items)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def set_items(self) -> None:
        self._set_items(self._since_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, Fields) and not (isinstance(target, Made) and target.of in _DICTS):
            self._distrust(f"entries of {target.of if isinstance(target, Made) else 'what is no dict'}")
        for key, value in zip(items[::2], items[1::2], strict=False):
            if key == MEMORY:
                self._distrust("an array that lies wherever an attribute says")
            if key == "_sklearn_version" and isinstance(value, str):
                self._findings.versions.setdefault("scikit-learn", value[:40])
            if isinstance(key, str):
                _set_item(target, key, value)
            elif isinstance(target, Fields):
                target.has_others = True

    def append(self) -> None:
        self._extend([self._pop()])

    def append_mark(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        """Of anything but a list the unpickler calls an attribute, which the object's own state may have set."""
        target = self._top()
        if isinstance(target, Items):
            target.extend(items[: MAX_TUPLE - len(target)])
        elif not isinstance(target, Made) or target.of not in _GROWING:
            self._distrust(f"additions to {target.of if isinstance(target, Made) else 'what is no list'}")

    def list_new(self) -> None:
        self._push(Items())

    def list_mark(self) -> None:
        self._push(Items(self._since_mark()[:MAX_TUPLE]))

    # --- names and calls -------------------------------------------------------------------------------------
    def _distrust(self, what: str) -> None:
        if len(self._findings.unsafe) < 100:
            self._findings.unsafe[what] = None

    def _name(self, module: object, name: object) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            self._distrust("a name that is computed while loading")
            return UNKNOWN
        found = Name(python3_name(module), name)
        if len(self._findings.names) < 10_000:
            self._findings.names[found] = None
        if not is_known(module, name):
            self._distrust(str(found))
        return found

    def global_line(self) -> None:
        module, name = self._source.line(), self._source.line()
        try:
            self._push(self._name(module.decode(), name.decode()))
        except UnicodeDecodeError:
            raise Damaged("a name is not text") from None

    def stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._push(self._name(module, name))

    def _call(self, target: Any, arguments: Any) -> None:
        if not isinstance(target, Name):
            self._distrust("a call of something computed while loading")
            self._push(UNKNOWN)
            return
        if not may_call(target.module, target.name, arguments):
            self._distrust(f"{target} with arguments that are not checked")
        made = Made(target, arguments)
        if arguments != () and target in CHOOSERS:
            self._distrust(f"{target} with arguments that are not checked")
        self._push(made)

    def reduce(self) -> None:
        arguments, target = self._pop(), self._pop()
        self._call(target, arguments)

    def new_object(self) -> None:
        self.reduce()

    def new_object_ex(self) -> None:
        _, arguments, target = self._pop(), self._pop(), self._pop()
        self._call(target, arguments)

    def inst(self) -> None:
        self.global_line()
        target = self._pop()
        self._call(target, tuple(self._since_mark()[:MAX_TUPLE]))

    def obj(self) -> None:
        items = self._since_mark()
        if not items:
            raise Damaged("it makes an object of nothing")
        self._call(items[0], tuple(items[1:MAX_TUPLE]))

    def persistent_line(self) -> None:
        self._source.line()
        self._persistent()

    def persistent(self) -> None:
        self._pop()
        self._persistent()

    def _persistent(self) -> None:
        if not self._findings.has_persistent_ids:
            self._distrust("a persistent id")
        self._push(UNKNOWN)

    def next_buffer(self) -> None:
        self._distrust("a buffer from outside the file")
        self._push(UNKNOWN)

    def _extension(self, layout: str) -> None:
        self._distrust(f"extension code {self._number(layout)}")
        self._push(UNKNOWN)

    def build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Name):
            self._distrust(f"a change of {target} itself")
        elif not isinstance(target, Made) or target.is_built:
            self._distrust("a second state")  # the first may say what the second is given to
        else:
            target.state, target.is_built = state, True
            self._check_state(target)
            if target.of in ARRAY_WRAPPERS:
                self._stack[-1] = Made(_ARRAY_CLASS)
                self._raw_array(state)

    def _check_state(self, made: Made) -> None:
        of, state = _class_of(made), made.state
        if of == _DTYPE_CLASS and not _is_honest_dtype(made):
            self._distrust("a type of array that hides objects")
        if of == PARTIAL and not (isinstance(state, tuple) and may_call(*PARTIAL, state[:1])):
            self._distrust(f"{PARTIAL} with a state that is not checked")
        if of in CHOOSERS:
            for what in _odd_choices(state):
                self._distrust(f"{of} with {what}")

    def frame(self) -> None:
        size = self._number("<Q")
        self._frame_end = self._source.position + size

    def proto(self) -> None:
        self._findings.protocol = self._source.read(1)[0]
        if self._findings.protocol > 5:
            raise Damaged(f"it is of pickle protocol {self._findings.protocol}, which no Python writes")

    # --- joblib's arrays -------------------------------------------------------------------------------------
    def _raw_array(self, state: object) -> None:
        """Skip the array that follows its wrapper, or read the pickle that holds its objects."""
        self._findings.has_raw_arrays = True
        if self._frame_end > self._source.position:
            raise Damaged("an array begins within a frame")
        fields = state if isinstance(state, Fields) else Fields()
        if fields.has_others or not isinstance(fields.get("numpy_array_alignment_bytes"), (int, type(None))):
            raise Damaged("the layout of an array cannot be read")
        item_bytes = _item_bytes(fields.get("dtype"))
        if item_bytes is None:
            self._distrust("an array of an unknown type")
            raise Damaged("the layout of an array cannot be read")
        if item_bytes == 0:  # objects
            self._counts[1] += 1
            if self._counts[1] > MAX_NESTED_PICKLES:
                raise Damaged("it has too many arrays of objects")
            _Machine(self._source, self._findings, self._counts).run()
            return
        shape = fields.get("shape")
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and 0 <= n < 2**48 for n in shape):
            raise Damaged("the shape of an array cannot be read")
        if isinstance(fields.get("numpy_array_alignment_bytes"), int):
            self._source.skip(self._source.read(1)[0])
        self._source.skip(math.prod(shape) * item_bytes)


def _item_bytes(dtype: object) -> int | None:
    """0: objects. None: cannot be told."""
    if not isinstance(dtype, Made) or dtype.of != _DTYPE_CLASS:
        return None
    arguments = dtype.arguments
    name = arguments[0] if isinstance(arguments, tuple) and arguments else None
    found = _DTYPE.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        return None
    kind, size = found.group(1), int(found.group(2))
    if kind == "O":
        return 0
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    if len(state) >= 8 and isinstance(state[7], int) and state[7] & 1:
        return None  # a structure with objects in it
    if len(state) >= 6 and kind in "SUV" and isinstance(state[5], int) and state[5] >= 0:
        size = state[5]
    elif kind == "U":
        size *= 4
    return size or None


def _class_of(made: Made) -> Name:
    """Protocols 0 and 1 make objects by a function."""
    if made.of == _RECONSTRUCTOR and isinstance(made.arguments, tuple) and made.arguments:
        return made.arguments[0] if isinstance(made.arguments[0], Name) else made.of
    return made.of


def _odd_choices(state: object) -> Iterator[str]:
    """What an object's attributes choose that an honest model does not, or that cannot be known."""
    if not isinstance(state, Fields) or state.has_others:
        yield "a state that cannot be known"
        return
    for key in CHOICES.keys() & state.keys():
        value = state[key]
        texts = value if isinstance(value, (Items, tuple)) else (value,)
        if len(texts) >= MAX_TUPLE or not all(
            text is None or (isinstance(text, str) and text in CHOICES[key]) for text in texts
        ):
            yield f"{key} of its own"


def _is_honest_dtype(dtype: object) -> bool:
    """Whether it says so (flag 1) when it holds objects: NumPy believes it, and takes bytes for pointers."""
    if not isinstance(dtype, Made) or dtype.of != _DTYPE_CLASS:
        return False
    state = dtype.state
    if state is None and not dtype.is_built:
        return True
    if not isinstance(state, tuple) or len(state) < 7:
        return False
    if "O" in _dtype_name(dtype):
        return _says_objects(state)
    parts = _dtype_parts(state)
    return parts is not None and (
        _says_objects(state) or all(_is_honest_dtype(part) and not _holds_objects(part) for part in parts)
    )


def _dtype_parts(state: tuple[Any, ...]) -> list[Any] | None:
    """The types within a type: of a subarray, of named fields. None if they cannot be known."""
    parts = [state[2][0]] if isinstance(state[2], tuple) and state[2] else []
    fields = state[4]
    if fields is None:
        return parts
    if not isinstance(fields, Fields) or fields.has_others:
        return None
    return parts + [part[0] if isinstance(part, tuple) and part else None for part in fields.values()]


def _dtype_name(dtype: Made) -> str:
    """ "f8"; "O" for one that cannot be known."""
    name = dtype.arguments[0] if isinstance(dtype.arguments, tuple) and dtype.arguments else None
    return name if isinstance(name, str) else "O"


def _says_objects(state: object) -> bool:
    return isinstance(state, tuple) and len(state) > 7 and isinstance(state[7], int) and bool(state[7] & 1)


def _holds_objects(dtype: Made) -> bool:
    return "O" in _dtype_name(dtype) or _says_objects(dtype.state)


def _set_item(target: object, key: str, value: object) -> None:
    if isinstance(target, Made) and target.of == _ORDERED_DICT:
        if target.items is _NOTHING:
            target.items = Fields()
        target = target.items
    if isinstance(target, Fields):
        if len(target) < MAX_KEPT:
            target[key] = value
        else:
            target.has_others = True


def _index(line: bytes) -> int:
    if len(line) > 20:
        raise Damaged("a place in the memo is too far")
    try:
        return int(line)
    except ValueError:
        raise Damaged("a place in the memo is not a number") from None


def _pushes(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine._push(value)


def _sized(layout: str, then: Callable[[_Machine, int], None]) -> Callable[[_Machine], None]:
    return lambda machine: then(machine, machine._number(layout))


def _skips(count: int) -> Callable[[_Machine], None]:
    return lambda machine: machine._skipped(count)


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"2": _Machine.dup,
    b"F": _Machine._line,
    b"I": _Machine._int_line,
    b"L": _Machine._int_line,
    b"J": _sized("<i", _Machine._push),
    b"K": _sized("<B", _Machine._push),
    b"M": _sized("<H", _Machine._push),
    b"N": _pushes(None),
    b"\x88": _pushes(True),
    b"\x89": _pushes(False),
    b"\x8a": _sized("<B", _Machine._long),
    b"\x8b": _sized("<i", _Machine._long),
    b"G": _skips(8),
    b"S": _Machine._quoted_line,
    b"T": _sized("<i", _Machine._old_text),
    b"U": _sized("<B", _Machine._old_text),
    b"V": _Machine._text_line,
    b"X": _sized("<I", _Machine._text),
    b"\x8c": _sized("<B", _Machine._text),
    b"\x8d": _sized("<Q", _Machine._text),
    b"B": _sized("<I", _Machine._skipped),
    b"C": _sized("<B", _Machine._skipped),
    b"\x8e": _sized("<Q", _Machine._skipped),
    b"\x96": _sized("<Q", _Machine._skipped),
    b"\x97": _Machine.next_buffer,
    b"\x98": lambda machine: None,
    b"]": _Machine.list_new,
    b"a": _Machine.append,
    b"e": _Machine.append_mark,
    b"l": _Machine.list_mark,
    b")": _pushes(()),
    b"\x85": lambda machine: machine.tuple_of(1),
    b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3),
    b"t": _Machine.tuple_mark,
    b"}": _Machine.new_dict,
    b"d": _Machine.dict_mark,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"\x8f": _Machine.list_new,
    b"\x90": _Machine.append_mark,
    b"\x91": _Machine.list_mark,
    b"c": _Machine.global_line,
    b"\x93": _Machine.stack_global,
    b"R": _Machine.reduce,
    b"\x81": _Machine.new_object,
    b"\x92": _Machine.new_object_ex,
    b"i": _Machine.inst,
    b"o": _Machine.obj,
    b"b": _Machine.build,
    b"P": _Machine.persistent_line,
    b"Q": _Machine.persistent,
    b"\x82": lambda machine: machine._extension("<B"),
    b"\x83": lambda machine: machine._extension("<H"),
    b"\x84": lambda machine: machine._extension("<i"),
    b"g": _Machine._get_line,
    b"h": _sized("<B", _Machine._get),
    b"j": _sized("<I", _Machine._get),
    b"p": _Machine._put_line,
    b"q": _sized("<B", _Machine._put),
    b"r": _sized("<I", _Machine._put),
    b"\x94": _Machine.memoize,
    b"\x95": _Machine.frame,
    b"\x80": _Machine.proto,
}
