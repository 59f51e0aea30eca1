"""Attacks inside the archives of torch.save, each with a part of its refusal."""

import struct

from tests.data.safe_pickle.attack_calls import COMMAND
from tests.data.safe_pickle.pickle_writing import call, data, many, name, number, text, whole

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
SYSTEM_INFO = b"\x80\x02}" + text("little_endian") + b"\x88s."
_SYSTEM = call(name("os", "system"), text(COMMAND))
_STORAGE_ID = many(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(1), b"N") + b"Q"
_NESTED = call(name("torch.storage", "_load_from_bytes"), data(LEGACY + SYSTEM_INFO + whole(_SYSTEM)))
_KEYS_AND_STORAGE = whole(b"]" + text("0") + b"a") + struct.pack("<q", 1) + b"1234"


def _zip_of(body: bytes) -> bytes:
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, len(body), len(body), 10, 0) + b"a/data.pkl"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, len(body), len(body), 10, 0, 0, 0, 0, 0, 0)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry) + 10, len(local) + len(body), 0)
    return local + body + entry + b"a/data.pkl" + end


ARCHIVES: dict[str, tuple[bytes, str]] = {
    "binpersid_of_storage_outside_archive": (whole(_STORAGE_ID), "asks the program for an object of its own"),
    "zip_system": (_zip_of(whole(_SYSTEM)), "refers to os.system"),
    "zip_nested_archive": (_zip_of(whole(_NESTED)), "refers to torch.storage._load_from_bytes"),
    "zip_storage_missing": (
        _zip_of(whole(_STORAGE_ID.replace(b"NtQ", b"tQ"))),
        "has no record of 1 elements for torch storage '0'",
    ),
    "zip_storage_as_result": (_zip_of(whole(text("x") + b"Q")), "has a torch storage of an unknown form"),
    "legacy_system": (LEGACY + SYSTEM_INFO + whole(_SYSTEM), "refers to os.system"),
    "legacy_system_in_facts": (LEGACY + whole(_SYSTEM), "refers to os.system"),
    "legacy_system_in_keys": (LEGACY + SYSTEM_INFO + whole(_STORAGE_ID) + whole(_SYSTEM), "refers to os.system"),
    "legacy_big_endian": (LEGACY + whole(b"}"), "doesn't say so"),
    "legacy_storage_bomb": (
        LEGACY
        + SYSTEM_INFO
        + whole(_STORAGE_ID.replace(number(1), number(2**31 - 1)))
        + whole(b"]" + text("0") + b"a")
        + struct.pack("<q", 2**31 - 1),
        "doesn't hold the 2147483647 elements of torch storage '0'",
    ),
    "legacy_storage_as_result": (
        LEGACY + SYSTEM_INFO + whole(_STORAGE_ID) + whole(b"]" + text("0") + b"a") + struct.pack("<q", 1) + b"1234",
        "leaves a Storage in its result",
    ),
    "nested_legacy_system": (whole(_NESTED), "refers to os.system"),
    "expanded_tensor_bomb": (
        LEGACY
        + SYSTEM_INFO
        + whole(
            call(
                name("torch._utils", "_rebuild_tensor_v2"),
                _STORAGE_ID,
                number(0),
                many(number(2**20), number(2**20)),
                many(number(0), number(0)),
                b"\x89",
                b"}",
            )
        )
        + whole(b"]" + text("0") + b"a")
        + struct.pack("<q", 1)
        + b"1234",
        "asks for over",
    ),
    "archive_loaded_again_and_again": (
        whole(
            data(LEGACY + SYSTEM_INFO + whole(b"N0" * 100_000 + _STORAGE_ID) + _KEYS_AND_STORAGE)
            + b"q\x000("
            + (name("torch.storage", "_load_from_bytes") + b"h\x00\x85R") * 2000
            + b"t"
        ),
        "inside a torch storage, a pickle may not make much more than it holds, and this one asks for over",
    ),
}
