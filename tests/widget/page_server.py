"""`examples/gradio_app.py` in a process whose sockets reach the loopback interface alone, and a client in another.

Gradio leaves event loops and files to the garbage collector; in this process their warnings would fail other tests.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
_START_S = 120.0

# Python imports this before anything else. A connection elsewhere is refused and recorded.
_GUARD = """
import ipaddress, os, socket

_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo

def _check(host):
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in ("None", "", "localhost", "0.0.0.0"):
        return
    try:
        if ipaddress.ip_address(name.partition("%")[0]).is_loopback:
            return
    except ValueError:
        pass
    with open(os.environ["FOREIGN_CONNECTIONS"], "a") as file:
        file.write(name + "\\n")
    raise OSError("this process has no network")

def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _check(address[0])
    return _connect(self, address)

def getaddrinfo(host, *args, **kwargs):
    _check(host)
    return _getaddrinfo(host, *args, **kwargs)

socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
"""


def free_port() -> int:
    """Finds a port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PageServer:
    """The page of a model, as a context manager.

    Attributes:
        url: Its address.
        temporary: The folder in which the process makes temporary files.
    """

    def __init__(
        self,
        model: Path | None,
        folder: Path,
        *options: str,
        script: Path = REPOSITORY / "examples" / "gradio_app.py",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.temporary, self._home, guard = folder / "temporary", folder / "home", folder / "guard"
        for each in (self.temporary, self._home, guard):
            each.mkdir()
        (guard / "sitecustomize.py").write_text(_GUARD, encoding="utf-8")
        self._foreign = folder / "foreign.txt"
        self._log_path = folder / "server.log"
        model_options = [] if model is None else ["--model", str(model), "--port", str(free_port())]
        self._command = [sys.executable, str(script), *model_options, *options]
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{guard}{os.pathsep}{script.parent if model is None else REPOSITORY}",
            "FOREIGN_CONNECTIONS": str(self._foreign),
            "TMPDIR": str(self.temporary),
            "HOME": str(self._home),
            "PYTHONUNBUFFERED": "1",
            **(variables or {}),
        }
        self.url = ""

    def __enter__(self) -> "PageServer":
        self._log = self._log_path.open("wb")
        self._process = subprocess.Popen(
            self._command, env=self._environment, cwd=self._home, stdout=self._log, stderr=subprocess.STDOUT
        )
        waited = threading.Event()
        for _ in range(int(_START_S / 0.2)):
            found = re.search(r"Open (http://\S+) in a browser", self.log)
            if found:
                self.url = found.group(1)
                return self
            if self._process.poll() is not None:
                break
            waited.wait(0.2)
        log = self.log
        self.stop()
        raise AssertionError(f"the page did not start:\n{log}")

    def __exit__(self, *_: Any) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What the process wrote."""
        return self._log_path.read_text(encoding="utf-8")

    @property
    def foreign_connections(self) -> list[str]:
        """Hosts beyond this machine that the process reached for."""
        return self._foreign.read_text(encoding="utf-8").split() if self._foreign.exists() else []

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Tells the process to stop and waits for it; gives its status."""
        if self._process.poll() is None:
            self._process.send_signal(signal_number)
        try:
            return self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._log.close()

    def call(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Calls `/predict` with the unmodified `gradio_client`, in a process of its own.

        Args:
            calls: Arguments by name; a value {"file": path} is uploaded.

        Returns:
            Per call {"result": …} or {"error": message}.
        """
        done = subprocess.run(
            [sys.executable, "-c", _CLIENT, self.url],
            input=json.dumps(calls),
            env={**self._environment, "TMPDIR": str(self._home)},
            cwd=self._home,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


_CLIENT = """
import json, sys
from gradio_client import Client, handle_file

client = Client(sys.argv[1], verbose=False)
answers = []
for call in json.load(sys.stdin):
    values = {k: handle_file(v["file"]) if isinstance(v, dict) and "file" in v else v for k, v in call.items()}
    try:
        answers.append({"result": client.predict(**values, api_name="/predict")})
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""
