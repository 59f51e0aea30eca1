"""Leaving a launch of several processes in good order.

A process that ends while the threads of its process group still run may be aborted by the C++ runtime after all its
work is done, and the launcher then reports a failure.
"""

import atexit
from functools import cache

import torch


def _leave() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@cache
def leave_group_at_exit() -> None:
    """Has this process leave its process group, if it is in one then, before the interpreter ends."""
    atexit.register(_leave)
