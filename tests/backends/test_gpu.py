from __future__ import annotations

from hatchway.backends.local.gpu import Device, NvmlDevices, choose, variables

TWO = (Device("GPU-a", "H100", 1), Device("GPU-b", "H100", 1))


def test_free_devices_are_taken_in_order() -> None:
    assert choose(1, TWO, ()) == ("GPU-a",)
    assert choose(1, TWO, ("GPU-a",)) == ("GPU-b",)
    assert choose(2, TWO, ()) == ("GPU-a", "GPU-b")
    assert choose(0, TWO, ("GPU-a", "GPU-b")) == ()


def test_none_is_chosen_when_there_are_not_enough() -> None:
    assert choose(2, TWO, ("GPU-b",)) is None
    assert choose(1, (), ()) is None


def test_a_replica_sees_its_devices_and_no_other() -> None:
    assert variables(("GPU-a", "GPU-b")) == {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
    assert variables(()) == {"CUDA_VISIBLE_DEVICES": ""}


def test_every_device_of_this_machine_has_a_name_or_there_are_none() -> None:
    assert all(device.uuid.startswith("GPU-") and device.memory_bytes for device in NvmlDevices().list())
