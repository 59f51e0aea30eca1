"""Finds the parts of a torch.save archive, in its legacy form and as a zip file.

Legacy: a magic number, a protocol version and facts about the system as small pickles, the pickle of the objects, a
pickle with the keys of the storages, then per storage its number of elements and its bytes.
Zip: `<prefix>/data.pkl` and `<prefix>/data/<key>`, all stored without compression.
"""

import re
from collections.abc import Mapping
from struct import Struct
from typing import TYPE_CHECKING, Any

from modeling_hfr_ame.data.safe_pickle.refusal import PickleError, malformed
from modeling_hfr_ame.data.safe_pickle.spans import Buffer, Span
from modeling_hfr_ame.data.safe_pickle.torch_tensors import Storage, item_size, parse_storage_id
from modeling_hfr_ame.data.safe_pickle.zip_directory import ZIP_MAGIC, read_zip_directory

if TYPE_CHECKING:
    from modeling_hfr_ame.data.safe_pickle.machine import Machine

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_VERSION = 1001
# A pickle of the magic number and nothing else: protocol and frame, which older protocols lack, then the number.
_MAGIC_PICKLE = re.compile(
    rb"(\x80.)?(\x95.{8})?(\x8a\x0a"
    + re.escape(_MAGIC_NUMBER.to_bytes(10, "little"))
    + rf"|L{_MAGIC_NUMBER}L\n)\.".encode(),
    re.DOTALL,
)
_HEAD = 64
# What the pickles in an archive and a member of a zip file cost: an archive can be loaded again and again.
_COST_OF_A_BYTE = 4
_BYTES_OF_AN_ENTRY = 64
_COUNT = Struct("<q")


def is_archive(data: Buffer, start: int = 0) -> bool:
    """Whether torch.save wrote these bytes, or they are a zip file of another kind."""
    head = bytes(data[start : start + _HEAD])
    return head.startswith(ZIP_MAGIC) or _MAGIC_PICKLE.match(head) is not None


def read_archive(machine: "Machine", data: Buffer, start: int, stop: int) -> Any:
    """Reads an archive with a machine that isn't in use. The result isn't checked."""
    if data[start : start + len(ZIP_MAGIC)] == ZIP_MAGIC:
        return _read_zip(machine, data, start, stop)
    return _read_legacy(machine, data, start, stop)


def build_storage_from_archive(machine: "Machine", args: tuple[Any, ...]) -> Storage:
    """Stands for `torch.storage._load_from_bytes(bytes)`, in which pickle.dump hides the storage of a tensor."""
    if len(args) != 1 or type(args[0]) not in (bytes, Span):
        raise malformed("loads a torch storage in an unknown way")
    content = args[0] if type(args[0]) is Span else Span(args[0], 0, len(args[0]))
    if not is_archive(content.source, content.start):
        raise malformed("has a torch storage that isn't an archive of torch.save")
    try:
        storage = read_archive(machine.for_archives(), content.source, content.start, content.stop)
    except PickleError as error:
        error.reason = f"inside a torch storage, {error.reason}"
        if content.source is not machine.data:
            error.offset = None
        raise
    if type(storage) is not Storage:
        raise malformed("has a torch storage archive that holds something else")
    return storage


def _read_zip(machine: "Machine", data: Buffer, start: int, stop: int) -> Any:
    entries = read_zip_directory(data, start, stop)
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise PickleError(
            f"a zip file of torch.save has one data.pkl, and this one has {len(pickles)}",
            "if this is an .npz or a zipped dataset, unpack it and name the file inside",
        )
    body = entries[pickles[0]]
    machine.budget.charge(_COST_OF_A_BYTE * (len(body) + _BYTES_OF_AN_ENTRY * len(entries)))
    prefix = pickles[0].removesuffix("data.pkl")
    byte_order = _read_byte_order(entries.get(f"{prefix}byteorder"))
    storages: dict[str, Storage] = {}

    def find_storage(identifier: Any) -> Storage:
        code, key, count = parse_storage_id(identifier)
        if key not in storages:
            content = entries.get(f"{prefix}data/{key}")
            if content is None or len(content) != count * item_size(code):
                raise malformed(f"has no record of {count} elements for torch storage {key[:40]!r}")
            storages[key] = Storage(code, content, byte_order)
        return _same_code(storages[key], code)

    return machine.run(body.source, body.start, body.stop, find_storage)


def _read_byte_order(record: Span | None) -> str:
    content = b"little" if record is None else record.copy() if len(record) < 16 else b""
    if content not in (b"little", b"big"):
        raise malformed("has an unknown byte order")
    return "<" if content == b"little" else ">"


def _same_code(storage: Storage, code: str) -> Storage:
    if storage.code != code:
        raise malformed("gives one torch storage two element types")
    return storage


def _read_legacy(machine: "Machine", data: Buffer, start: int, stop: int) -> Any:
    magic = machine.run(data, start, stop)
    version = machine.run(data, machine.position, stop)
    if (magic, version) != (_MAGIC_NUMBER, _VERSION):
        raise malformed("isn't an archive of a known version")
    facts = machine.run(data, machine.position, stop)
    if type(facts) is not dict or facts.get("little_endian") is not True:
        raise PickleError("a legacy torch archive has to be little-endian, and this one doesn't say so")
    body = machine.position
    # The storages follow the objects that need them, so the objects are read twice: first to learn the sizes.
    storages: dict[str, Storage] = {}
    counts: dict[str, int] = {}

    def note_storage(identifier: Any) -> Storage:
        code, key, count = parse_storage_id(identifier)
        if counts.setdefault(key, count) != count:
            raise malformed("gives one torch storage two sizes")
        return _same_code(storages.setdefault(key, Storage(code, None)), code)

    machine.run(data, body, stop, note_storage)
    machine.budget.charge(_COST_OF_A_BYTE * (machine.position - start))
    keys = machine.run(data, machine.position, stop)
    _locate_storages(storages, counts, keys, data, machine.position, stop)

    def find_storage(identifier: Any) -> Storage:
        return storages[parse_storage_id(identifier)[1]]

    return machine.run(data, body, stop, find_storage)


def _locate_storages(
    storages: dict[str, Storage], counts: Mapping[str, int], keys: Any, data: Buffer, position: int, stop: int
) -> None:
    if type(keys) is not list or len(keys) != len(storages):
        raise malformed("doesn't list its torch storages")
    for key in keys:
        if type(key) is not str or key not in storages or storages[key].content is not None:
            raise malformed("doesn't list its torch storages")
        begin = position + _COUNT.size
        position = begin + counts[key] * item_size(storages[key].code)
        if position > stop or _COUNT.unpack_from(data, begin - _COUNT.size)[0] != counts[key]:
            raise malformed(f"doesn't hold the {counts[key]} elements of torch storage {key[:40]!r}")
        storages[key] = Storage(storages[key].code, Span(data, begin, position))
