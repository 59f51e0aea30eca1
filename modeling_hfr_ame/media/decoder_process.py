"""The program that decodes one media file in a process of its own. Run by path, never imported by the package.

- Standard input is the open file, the only argument says what is wanted, and the parts go to standard output, framed by
  `part_frames`. It opens nothing itself and starts nothing.
- It loads PyAV and numpy only: the package's own `__init__` would bring transformers, so a bare one takes its place.
- Before the first byte of the file is looked at, the process limits its memory, its processor time, its open files and
  forbids itself to write files.
"""

import json
import sys
import types
from contextlib import suppress
from pathlib import Path
from typing import Any

_SPARE_FILES = 32


def main() -> None:
    """Decodes standard input as the argument says."""
    package = types.ModuleType("modeling_hfr_ame")
    package.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["modeling_hfr_ame"] = package
    room = types.ModuleType("modeling_hfr_ame.media")
    room.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["modeling_hfr_ame.media"] = room

    from modeling_hfr_ame.errors import MediaError
    from modeling_hfr_ame.media.part_frames import write_failure, write_part
    from modeling_hfr_ame.media_decoding import DecodingRequest, stream_media
    from modeling_hfr_ame.media_limits import MediaLimits

    order = json.loads(sys.argv[1])
    limits = MediaLimits(**order["limits"])
    output = sys.stdout.buffer
    _limit_process(limits)
    try:
        for part in stream_media(sys.stdin.buffer, order["name"], DecodingRequest(**order["request"]), limits):
            write_part(output, part)
    except MediaError as error:
        write_failure(output, str(error))
    except MemoryError:
        write_failure(
            output,
            f"{order['name']} needs more memory than MediaLimits.max_memory_bytes {limits.max_memory_bytes}; scale the "
            "file down or raise the limit",
        )
    output.flush()


def _limit_process(limits: Any) -> None:
    """Limits this process, as far as the system can."""
    try:
        import resource
    except ImportError:  # not POSIX: the parent's clock is all there is
        return
    idle_bytes = 0
    with suppress(OSError):
        idle_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    seconds = max(1, int(limits.max_wall_s + 1))
    wanted = {"RLIMIT_CPU": seconds, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": _SPARE_FILES}
    if idle_bytes:  # elsewhere the reserved address space of an idle process isn't known
        wanted["RLIMIT_AS"] = idle_bytes + limits.max_memory_bytes
    for name, value in wanted.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    # A reader that has gone away is no error of this program.
    with suppress(BrokenPipeError):
        main()
    with suppress(BrokenPipeError):
        sys.stdout.flush()
