"""Reads the directory of a zip file whose members are stored without compression, as torch.save writes them.

Members are views of the file. Checksums aren't compared, which would read every byte of a large file.
"""

from struct import Struct

from modeling_hfr_ame.data.safe_pickle.refusal import PickleError, malformed
from modeling_hfr_ame.data.safe_pickle.spans import Buffer, Span

ZIP_MAGIC = b"PK\x03\x04"
_END = Struct("<4s4H2LH")
_END_64 = Struct("<4sQ2H2L4Q")
_LOCATOR_64 = Struct("<4sLQL")
_ENTRY = Struct("<4s6H3L5H2L")
_LOCAL = Struct("<4s5H3L2H")
_MAX_COMMENT = 0xFFFF
_IN_EXTRA = 0xFFFFFFFF
_ENCRYPTED = 1


def read_zip_directory(data: Buffer, start: int, stop: int) -> dict[str, Span]:
    """Lists the members of a zip file.

    Args:
        data: The zip file is `data[start:stop]`.
        start: Offsets inside the zip file count from here.
        stop: End of the zip file.

    Returns:
        Name of each member to its bytes.

    Raises:
        PickleError: The directory is damaged, or a member is compressed or encrypted.
    """
    count, position, end = _find_directory(data, start, stop)
    entries: dict[str, Span] = {}
    for _ in range(count):
        if position + _ENTRY.size > end:
            raise malformed("has a truncated zip directory")
        fields = _ENTRY.unpack_from(data, position)
        flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
        name_size, extra_size, comment_size, offset = fields[10], fields[11], fields[12], fields[16]
        name_at = position + _ENTRY.size
        position = name_at + name_size + extra_size + comment_size
        if fields[0] != b"PK\x01\x02" or position > end:
            raise malformed("has a damaged zip directory")
        name = str(data[name_at : name_at + name_size], "utf-8")
        extra = bytes(data[name_at + name_size : name_at + name_size + extra_size])
        size, packed, offset = _wide_fields(extra, size, packed, offset)
        if method != 0 or flags & _ENCRYPTED or size != packed:
            raise PickleError(
                f"members of a torch archive are stored as they are, and {name[:60]!r} is compressed or encrypted",
                "unpack the file and name what is inside",
            )
        if name in entries:
            raise malformed(f"has two zip members of the name {name[:60]!r}")
        entries[name] = _member(data, start + offset, size, stop)
    return entries


def _find_directory(data: Buffer, start: int, stop: int) -> tuple[int, int, int]:
    """Gives the number of members, and where their directory starts and ends."""
    at = data.rfind(b"PK\x05\x06", max(start, stop - _END.size - _MAX_COMMENT), stop)
    if at < 0 or at + _END.size > stop:
        raise malformed("is a zip file without a directory")
    fields = _END.unpack_from(data, at)
    count, size, offset = fields[4], fields[5], fields[6]
    locator = at - _LOCATOR_64.size
    if locator >= start and data[locator : locator + 4] == b"PK\x06\x07":
        at = start + _LOCATOR_64.unpack_from(data, locator)[2]
        if at + _END_64.size > stop or data[at : at + 4] != b"PK\x06\x06":
            raise malformed("has a damaged zip directory")
        fields = _END_64.unpack_from(data, at)
        count, size, offset = fields[7], fields[8], fields[9]
    first = start + offset
    if first + size > stop:
        raise malformed("has a damaged zip directory")
    return count, first, first + size


def _wide_fields(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Replaces the fields that don't fit into four bytes by those of the zip64 record."""
    values = [size, packed, offset]
    position = 0
    while position + 4 <= len(extra):
        kind = int.from_bytes(extra[position : position + 2], "little")
        length = int.from_bytes(extra[position + 2 : position + 4], "little")
        position += 4
        if kind == 1:
            record = extra[position : position + length]
            for index, value in enumerate(values):
                if value == _IN_EXTRA:
                    values[index], record = int.from_bytes(record[:8], "little"), record[8:]
        position += length
    return values[0], values[1], values[2]


def _member(data: Buffer, local: int, size: int, stop: int) -> Span:
    if local + _LOCAL.size > stop:
        raise malformed("has a zip member outside the file")
    fields = _LOCAL.unpack_from(data, local)
    begin = local + _LOCAL.size + fields[9] + fields[10]
    if fields[0] != ZIP_MAGIC or begin + size > stop:
        raise malformed("has a zip member outside the file")
    return Span(data, begin, begin + size)
