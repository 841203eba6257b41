"""Devices, precision, CPU threads and the settings of deterministic kernels."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from platform import machine, processor
from threading import Lock

import torch

from rigl.training.config import ConfigError, brief, shown


def resolve_device(name: str = "auto") -> torch.device:
    """The device ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, ...; ``"auto"`` is CUDA if available, else the CPU.

    Raises ConfigError for a device that is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda are supported")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"device={shown(name)} is not available here ({brief(error)}): choose auto or cpu"
        ) from None
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """Resolve ``"auto"``: bf16 if the device supports it in hardware, else float32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bf16" if cpu_has_bf16() else "float32"


def cpu_has_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def slug(device: torch.device) -> str:
    """`device_name` as part of a file name: ``"nvidia-h100-80gb-hbm3"``."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def device_name(device: torch.device) -> str:
    """The vendor's name of the device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return processor() or machine()


# From glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
_KERNELS = Lock()
_settings = ExitStack()
_inside = 0


def use_threads(count: int) -> None:
    """Set the number of CPU threads for this thread alone. The first call of get_num_threads in a thread
    adopts the number that any thread has set last, even over its own: make that call before."""
    torch.get_num_threads()
    torch.set_num_threads(count)


def keep_freed_memory(keep: bool) -> None:
    """Let malloc keep freed memory, or return it to the system as it does by default.

    A training step on a CPU frees and allocates the same hundred megabytes again and again. glibc returns
    them to the system in between, and the page faults that follow cost a tenth of a step. Other C libraries
    are left alone.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # where its dynamic threshold ends up, as 64 MB below
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1 if keep else 64 * 2**20)


@contextmanager
def isolated(device: torch.device, cpu_threads: int) -> Iterator[None]:
    """A context with deterministic kernels, `cpu_threads` CPU threads, and freed memory kept by malloc.

    These settings except for the threads belong to the process: the last thread to leave restores them.
    """
    global _inside
    before = torch.get_num_threads()
    with _KERNELS:
        if not _inside:
            if device.type == "cpu":
                keep_freed_memory(True)
                _settings.callback(keep_freed_memory, False)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            cudnn = torch.backends.cudnn
            # flags() resets every argument that is not given.
            _settings.enter_context(
                cudnn.flags(
                    enabled=cudnn.enabled, deterministic=True, benchmark=False, allow_tf32=cudnn.allow_tf32
                )
            )
        _inside += 1
    torch.set_num_threads(cpu_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        with _KERNELS:
            _inside -= 1
            if not _inside:
                _settings.close()
