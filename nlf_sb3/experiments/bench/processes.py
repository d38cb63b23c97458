"""Run something in a Python process of its own, and read the memory that it took."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_python(code: str) -> str:
    """
    :param code: A program
    :return: What it printed
    :raises RuntimeError: If it failed
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a process of its own failed with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def call_alone(function: Callable[..., Any], *arguments: int | str) -> Any:
    """
    Call a function in a process of its own.

    :param function: A module's function that returns plain data
    :param arguments: Its arguments
    :return: What it returned
    """
    code = (
        f"import json, nlf_sb3; from {function.__module__} import {function.__name__} as work; "
        f"print(json.dumps([nlf_sb3.__file__, work(*{arguments!r})]))"
    )
    file, result = json.loads(run_python(code).splitlines()[-1])
    check_same_copy(file)
    return result


def check_same_copy(file: str) -> None:
    """
    :param file: Where a new process found this package
    :raises RuntimeError: If this process found it elsewhere
    """
    import nlf_sb3

    if Path(file).resolve() != Path(str(nlf_sb3.__file__)).resolve():
        raise RuntimeError(f"a new Python process imports {file}, this one {nlf_sb3.__file__}. Install the package, once.")


def peak_megabytes() -> float:
    """
    The most memory that this process has had resident.

    Linux keeps ``getrusage``'s figure over exec, so that a child would start with its parent's. There the
    peak of the address space is read, which begins with the program.

    :return: Megabytes of 2^20 bytes
    :raises RuntimeError: Where the system doesn't say
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError as error:
        raise RuntimeError("This system doesn't tell a process's peak memory. Leave the part injection out.") from error
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
