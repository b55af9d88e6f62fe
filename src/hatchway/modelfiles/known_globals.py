"""The one table of what pickled models may name: exact modules and names, never a pattern.

`is_known` is asked by the scanner, before anything is loaded, and by the replica's unpickler at every name. A name is
in the table when calling it with any arguments runs nothing that the arguments choose: no code, no import, no file, no
attribute by name. So not builtins.getattr, operator.attrgetter (attributes by name), numpy.load,
numpy.memmap (files), numpy's _ufunc_reconstruct (imports), scipy.stats distributions (they compile text they hold).
"""

from __future__ import annotations

from hatchway.modelfiles.known_sklearn import SCIKIT_LEARN

_NUMPY_TYPES = (
    "bool_ bool bytes_ clongdouble complex128 complex64 datetime64 float16 float32 float64 int16 int32 int64 int8 "
    "longdouble longlong object_ str_ timedelta64 uint16 uint32 uint64 uint8 ulonglong void"
)
# Functions of arrays that FunctionTransformer is given.
_NUMPY_FUNCTIONS = (
    "abs absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh deg2rad exp exp2 expm1 fabs floor "
    "isfinite isnan log log10 log1p log2 log negative nan_to_num positive rad2deg reciprocal rint sign sin sinh sqrt "
    "square tan tanh trunc argmax argmin clip max mean median min std sum var ravel"
)

_TABLE = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "_reconstructor",
    "_codecs": "encode",  # with "latin1" only, see `may_call`
    "functools": "partial",  # of check_array only, see `may_call`
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "numpy": f"dtype ndarray {_NUMPY_TYPES} {_NUMPY_FUNCTIONS}",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random._generator": "Generator",
    "numpy.random.mtrand": "RandomState",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "sklearn.utils.validation": "check_array",
    "scipy.sparse._bsr": "bsr_array bsr_matrix",
    "scipy.sparse._coo": "coo_array coo_matrix",
    "scipy.sparse._csc": "csc_array csc_matrix",
    "scipy.sparse._csr": "csr_array csr_matrix",
    "scipy.sparse._dia": "dia_array dia_matrix",
    "scipy.sparse._dok": "dok_array dok_matrix",
    "scipy.sparse._lil": "lil_array lil_matrix",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.interpolate._interpolate": "interp1d",
    "scipy.interpolate.interpolate": "interp1d",
    # pandas 3 names its classes where they are imported from.
    "pandas": (
        "NA NaT BooleanDtype Categorical CategoricalDtype DataFrame DatetimeIndex DatetimeTZDtype Float32Dtype "
        "Float64Dtype Index Int16Dtype Int32Dtype Int64Dtype Int8Dtype MultiIndex RangeIndex Series StringDtype "
        "Timestamp"
    ),
    "pandas.arrays": (
        "ArrowStringArray BooleanArray DatetimeArray FloatingArray IntegerArray NumpyExtensionArray StringArray"
    ),
    "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals": "_unpickle_block",
    "pandas._libs.missing": "NAType",
    "pandas._libs.tslibs.nattype": "_nat_unpickle",
    "pandas._libs.tslibs.timestamps": "Timestamp _unpickle_timestamp",
    "pandas.core.arrays.boolean": "BooleanArray",
    "pandas.core.arrays.categorical": "Categorical",
    "pandas.core.arrays.datetimes": "DatetimeArray",
    "pandas.core.arrays.floating": "FloatingArray",
    "pandas.core.arrays.integer": "IntegerArray",
    "pandas.core.arrays.numpy_": "NumpyExtensionArray",
    "pandas.core.arrays.string_": "StringArray",
    "pandas.core.dtypes.dtypes": "CategoricalDtype DatetimeTZDtype",
    "pandas.core.frame": "DataFrame",
    "pandas.core.indexes.base": "Index _new_Index",
    "pandas.core.indexes.multi": "MultiIndex",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas.core.series": "Series",
    # Texts of pandas 3. Nothing they are given is run, and the replica checks the array that is restored.
    "pyarrow.lib": "_restore_array py_buffer type_for_alias",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "sklearn.externals.joblib.numpy_pickle": "NumpyArrayWrapper",
    "torch": (
        "BFloat16Storage BoolStorage ByteStorage CharStorage DoubleStorage FloatStorage HalfStorage IntStorage "
        "LongStorage ShortStorage Size device"
    ),
    "torch._utils": "_rebuild_parameter _rebuild_tensor_v2",
    "xgboost.core": "Booster",
    "xgboost.sklearn": "XGBClassifier XGBModel XGBRFClassifier XGBRFRegressor XGBRanker XGBRegressor",
    "lightgbm.basic": "Booster",
    "lightgbm.sklearn": "LGBMClassifier LGBMModel LGBMRanker LGBMRegressor _EvalFunctionWrapper",
} | SCIKIT_LEARN

_KNOWN = frozenset((module, name) for module, names in _TABLE.items() for name in names.split())
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # how protocols 0 to 2 spell them
ARRAY_WRAPPERS = frozenset(
    {("joblib.numpy_pickle", "NumpyArrayWrapper"), ("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper")}
)


def python3_name(module: str) -> str:
    """The name of a module that Python 2 called otherwise."""
    return _OLD_NAMES.get(module, module)


def is_known(module: str, name: str) -> bool:
    """Whether a pickle may name this."""
    module = python3_name(module)
    if module.startswith("numpy._core."):
        module = "numpy.core." + module.removeprefix("numpy._core.")  # numpy 2's spelling of numpy 1's
    return (module, name) in _KNOWN


def may_call(module: str, name: str, arguments: object) -> bool:
    """Whether a known name may be called with these arguments (constants as themselves, all else as any object)."""
    if (module, name) == ("_codecs", "encode"):  # other encodings import modules
        return isinstance(arguments, tuple) and len(arguments) == 2 and arguments[1] == "latin1"
    if (module, name) == ("functools", "partial"):  # in scikit-learn's gradient boosting of category columns
        return arguments == (("sklearn.utils.validation", "check_array"),)
    if (module, name) in _BOOSTERS:  # model_file is a file to read; pickles give their content as a state
        return arguments == ()
    return (module, name) not in _NAMED_ONLY


# Models hold them to call them later, and pickles have no reason to call them: given an object that says it was an
# array (`__array_interface__`), they read, or write, whatever memory it names. An ndarray's own buffer may hold
# pointers; honest arrays come from `_reconstruct`, `_frombuffer` and joblib's wrapper, numbers from `scalar`.
_NAMED_ONLY = frozenset(("numpy", name) for name in f"ndarray {_NUMPY_TYPES} {_NUMPY_FUNCTIONS}".split()) | {
    ("scipy._lib.array_api_compat.numpy._aliases", "asarray"),
    ("sklearn.utils.validation", "check_array"),
}
_BOOSTERS = frozenset({("xgboost.core", "Booster"), ("lightgbm.basic", "Booster")})
