"""Device and precision."""

import resource
from pathlib import Path
from platform import libc_ver

import pytest
import torch

from rigl.training.config import ConfigError
from rigl.training.devices import device_name, isolated, resolve_device, resolve_precision


def test_auto_is_what_is_there():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu"))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xpu:7"])
def test_devices_that_are_not_there(name):
    with pytest.raises(ConfigError, match=f"device='{name}' is not available here") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_precision():
    cpu = torch.device("cpu")
    assert resolve_precision("bf16", cpu) == "bf16"
    assert resolve_precision("float32", cpu) == "float32"
    flags = ""
    try:
        with Path("/proc/cpuinfo").open() as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        pytest.skip("no /proc/cpuinfo to compare with")
    good = bool({"avx512_bf16", "amx_bf16", "amx_tile"} & set(flags.split()))
    assert resolve_precision("auto", cpu) == ("bf16" if good else "float32")


@pytest.mark.skipif(libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_memory_that_a_step_frees_is_not_faulted_in_again():
    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            kept = [torch.ones(2**21) for _ in range(6)]  # 8 MB each
            del kept
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with isolated(torch.device("cpu"), torch.get_num_threads()):
        faults()
        inside = faults()
    assert inside < 6 * 2**11  # as if all were faulted in once, of twenty times
