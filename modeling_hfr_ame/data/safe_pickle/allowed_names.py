"""The complete list of names that a pickle may use. Everything else is refused where it is named."""

from modeling_hfr_ame.data.safe_pickle.arrays import build_dtype, build_from_buffer, build_pending_array, build_scalar
from modeling_hfr_ame.data.safe_pickle.names import Name, NameTable, make_table
from modeling_hfr_ame.data.safe_pickle.plain_values import (
    build_bytes,
    build_complex,
    build_default_dict,
    build_dict,
    build_encoded,
    build_frozenset,
    build_set,
    build_size,
)
from modeling_hfr_ame.data.safe_pickle.torch_archives import build_storage_from_archive
from modeling_hfr_ame.data.safe_pickle.torch_tensors import (
    build_parameter,
    build_tensor,
    build_tensor_of_dtype,
)

_STORAGE_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
}


def _builtins(module: str) -> list[Name]:
    return [
        Name(module, "set", build_set),
        Name(module, "frozenset", build_frozenset),
        Name(module, "complex", build_complex),
        Name(module, "bytes", build_bytes),
        Name(module, "bytearray", build_bytes),
        # Only as the factory of a defaultdict, where they are dropped.
        *(Name(module, attribute) for attribute in ("list", "dict", "tuple", "int", "float", "str", "bool")),
    ]


def _numpy_core(package: str) -> list[Name]:
    return [
        Name(f"{package}.multiarray", "_reconstruct", build_pending_array),
        Name(f"{package}.multiarray", "scalar", build_scalar),
        Name(f"{package}.numeric", "_frombuffer", build_from_buffer, takes_bytes=True),
    ]


# Inside an archive of torch.save, where no further archive may be.
ARCHIVE_NAMES: NameTable = make_table(
    [
        *_builtins("builtins"),
        *_builtins("__builtin__"),
        Name("collections", "OrderedDict", build_dict),
        Name("collections", "defaultdict", build_default_dict),
        Name("_codecs", "encode", build_encoded, encodes_text=True),
        Name("numpy", "ndarray"),
        Name("numpy", "dtype", build_dtype),
        *_numpy_core("numpy.core"),
        *_numpy_core("numpy._core"),
        Name("torch", "Size", build_size),
        Name("torch._utils", "_rebuild_tensor", build_tensor),
        Name("torch._utils", "_rebuild_tensor_v2", build_tensor),
        Name("torch._utils", "_rebuild_tensor_v3", build_tensor_of_dtype),
        Name("torch._utils", "_rebuild_parameter", build_parameter),
        *(Name("torch", attribute, dtype=dtype) for attribute, dtype in _STORAGE_DTYPES.items()),
        Name("torch.storage", "UntypedStorage", dtype="u1"),
        *(Name("torch", f"uint{bits}", dtype=f"u{bits // 8}") for bits in (16, 32, 64)),
    ]
)

NAMES: NameTable = {
    **ARCHIVE_NAMES,
    **make_table([Name("torch.storage", "_load_from_bytes", build_storage_from_archive, takes_bytes=True)]),
}
