"""Reads every attack in a process that dies on the first event that reading data can't need.

    python read_attacks.py FOLDER REPOSITORY

Prints one JSON object: per file the refusal or what came instead, and the growth of the peak memory in megabytes.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

folder, repository = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, repository)

from modeling_hfr_ame.data.safe_pickle import PickleError, read_pickle  # noqa: E402

# Apart from opening the file itself: mapping it, and asking for an identity, which the check for cycles does.
ALLOWED = {"mmap.__new__", "builtins.id"}
is_reading = False
current = Path()


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Ends the process at once: an exception could be caught on the way."""
    if not is_reading or event in ALLOWED:
        return
    if event == "open" and arguments[0] == str(current) and arguments[1] in ("r", "rb", None):
        return
    sys.stderr.write(f"{current.name}: {event} {arguments!r}\n")
    sys.stderr.flush()
    os._exit(3)


sys.addaudithook(watch)
if "--prove" in sys.argv:
    is_reading = True
    exec("1")

results = {}
for current in sorted(folder.iterdir()):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    is_reading = True
    try:
        outcome = f"read: {type(read_pickle(current)).__name__}"
    except PickleError as error:
        outcome = f"refused: {error.reason}"
    except Exception as error:
        outcome = f"failed: {type(error).__name__}: {error}"
    is_reading = False
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    results[current.name] = {"outcome": outcome, "megabytes": growth, "seconds": time.process_time() - start}
sys.stdout.write(json.dumps(results))
