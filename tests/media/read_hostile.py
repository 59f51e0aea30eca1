"""Reads files in this fresh process and says what each one cost. Run by test_hostile_files.py."""

import json
import resource
import sys
import time
from pathlib import Path

from modeling_hfr_ame.errors import HfrAmeError
from modeling_hfr_ame.media import read_media


def _peak_mb(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def main() -> None:
    for name in sys.argv[1:]:
        start, before_mb = time.monotonic(), _peak_mb(resource.RUSAGE_SELF)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            with read_media(Path(name)) as stream:
                num_parts = sum(1 for _ in stream)
            error = f"no error, {num_parts} parts"
            kind = ""
        except HfrAmeError as found:
            error, kind = str(found), type(found).__name__
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        sys.stdout.write(
            json.dumps(
                {
                    "kind": kind,
                    "error": error,
                    "wall_s": time.monotonic() - start,
                    "cpu_s": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
                    # Of all processes so far: a bound that each file must leave alone.
                    "decoder_mb": _peak_mb(resource.RUSAGE_CHILDREN),
                    "growth_mb": _peak_mb(resource.RUSAGE_SELF) - before_mb,
                }
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
