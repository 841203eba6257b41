"""Which device trains, and in which precision it does so well."""

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
    """``"auto"`` is CUDA where there is one, else the CPU; else ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, ...

    Raises ConfigError for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("runs are made for cpu and cuda")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"device={shown(name)} is not available here ({brief(error)}): choose auto or cpu"
        ) from None
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """``"auto"`` is bf16 where the device computes in it, else float32: emulated bf16 is far slower."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bf16" if _cpu_has_bf16() else "float32"


def _cpu_has_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def slug(device: torch.device) -> str:
    """`device_name` for a file: ``"nvidia-h100-80gb-hbm3"``."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def device_name(device: torch.device) -> str:
    """What the vendor calls it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return processor() or machine()


# Of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
_KERNELS = Lock()
_settings = ExitStack()
_inside = 0


def use_threads(count: int) -> None:
    """Let this thread compute with so many CPU threads, whatever others set meanwhile: when a thread first
    asks, torch gives it what was set last in any, also if it had set its own."""
    torch.get_num_threads()
    torch.set_num_threads(count)


def keep_freed_memory(keep: bool) -> None:
    """Let malloc keep what is freed, or give it back as it does by itself.

    A CPU's step frees and takes the same hundred megabytes again and again. glibc returns them to the system
    in between, and the page faults that follow cost a tenth of a step. Elsewhere nothing happens.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # what its own rule comes to, as 64 MB below
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1 if keep else 64 * 2**20)


@contextmanager
def isolated(device: torch.device, cpu_threads: int) -> Iterator[None]:
    """Kernels that give the same bits every time, so many CPU threads, and freed memory kept, until its end.

    The kernels' settings are the process's: of several threads inside, the last to leave restores them.
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
            # flags() turns off whatever it is not told to leave on.
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
