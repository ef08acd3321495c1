# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The driver: arrays in, arrays out, the same for every device; conversions as ONNX Runtime does them."""

import dataclasses
import importlib
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.geometry import geometry
from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.program import Column, Port, Program
from openlpu.arch.status import ChipStatus, Fault, RunStatus
from openlpu.arch.timing import timing
from openlpu.model.golden import GoldenChip
from openlpu.model.link import cycles
from openlpu.runtime.bridged_chip import BridgedChip
from openlpu.runtime.driver import (
    Device,
    DeviceError,
    DeviceFault,
    InputError,
    from_chip,
    image_runs,
    open_device,
    to_chip,
)
from openlpu.runtime.requests import Patience
from openlpu.verif.bridge_model import BridgeModel, ModelWire
from openlpu.verif.onnx_reference import onnxruntime_session

SEED = 20261123


def rows(shape: tuple[int, ...] = (3, 4), dtype: str = "int8") -> NDArray[Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def test_run_a_program(copier: Program) -> None:
    with open_device("golden", NANO) as device:
        device.load(copier)
        for sign in (1, -1):
            result = device.run({"x": sign * rows()})
            np.testing.assert_array_equal(result.outputs["y"], sign * rows())
            assert result.cycles == copier.cycles


def test_inputs_that_do_not_fit(copier: Program) -> None:
    with open_device("golden", NANO) as device:
        with pytest.raises(DeviceError, match="no program is loaded"):
            device.run({})
        device.load(copier)
        with pytest.raises(InputError, match="input 'x' of copier is missing"):
            device.run({})
        with pytest.raises(InputError, match="no input 'z'; its inputs are: x"):
            device.run({"x": rows(), "z": rows()})
        with pytest.raises(InputError, match=r"input 'x' is int8\[3, 4\], but int64\[3, 4\] was given"):
            device.run({"x": rows(dtype="int64")})
        with pytest.raises(InputError, match=r"input 'x' is int8\[3, 4\], but int8\[4, 3\] was given"):
            device.run({"x": rows((4, 3))})


def test_a_program_for_another_chip(copier: Program) -> None:
    with open_device("golden", ULX3S) as device, pytest.raises(DeviceError, match="compiled for the chip nano"):
        device.load(copier)
    renamed = dataclasses.replace(NANO, name="mine")
    with open_device("golden", renamed) as device:
        device.load(copier)


def test_devices_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="no device 'serial'; there are: golden, rtl"):
        open_device("serial", NANO)

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'amaranth'", name="amaranth")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DeviceError, match=r"needs the package 'amaranth': install with `pip install 'openlpu\[rtl\]'`"):
        open_device("rtl", NANO)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (
            RunStatus(5, Fault("vxm.alu0", 3, illegal=False)),
            DeviceFault,
            "operand without a value in vxm.alu0, cycle 3",
        ),
        (RunStatus(5, Fault("vxm.alu0", 3, illegal=True)), DeviceFault, "illegal instruction in vxm.alu0, cycle 3"),
        (RunStatus(5), DeviceError, "copier took 5 cycles, but takes 11: a broken device"),
    ],
)
def test_devices_that_misbehave(copier: Program, status: RunStatus, kind: type[Exception], message: str) -> None:
    class Broken(GoldenChip):
        def run(self, count: int = 1) -> RunStatus:
            return status

    device = Device(Broken(NANO))
    device.load(dataclasses.replace(copier, cycles=11))
    with pytest.raises(kind, match=message):
        device.run({"x": rows()})


@pytest.mark.parametrize("ecc", [False, True])
def test_words_that_ecc_cannot_restore_spoil_a_run(ecc: bool) -> None:
    class Worn(GoldenChip):
        looks = 0

        def status(self) -> ChipStatus:
            self.looks += 1
            return dataclasses.replace(super().status(), uncorrectable=int(self.looks > 3))

    config = dataclasses.replace(NANO, ecc=ecc)
    text = {"mem_e0.read": tuple(parse_instruction(line) for line in ("notify", "halt"))}
    chip = Worn(config)
    device = Device(chip)
    device.load(Program(name="idle", config=config, text=text, cycles=1))
    # Looked at before and after each run: the first is good.
    assert device.run({}).cycles == 1
    assert chip.looks == (2 if ecc else 0)
    if ecc:
        with pytest.raises(DeviceError, match="idle: ECC found words with two wrong bits: load the program and run"):
            device.run({})


def test_the_status_is_that_of_the_last_run(copier: Program) -> None:
    with open_device("golden", NANO) as device:
        assert device.status() == ChipStatus(False, RunStatus(0))
        device.load(copier)
        device.run({"x": rows()})
        assert device.status() == ChipStatus(False, RunStatus(copier.cycles))


def test_a_program_that_overwrites_its_image_runs_the_same_every_time() -> None:
    def text(*lines: str) -> Any:
        return tuple(parse_instruction(line) for line in lines)

    # word 0 of slice 0 goes west into the VXM, has 1 added, and comes back to where it was.
    program = Program(
        name="counter",
        config=NANO,
        text={
            "mem_e0.read": text("notify", "read a=0 d=w0", "halt"),
            "vxm.alu0": text("sync", "nop n=3", "iadd x=w0.byte y=imm d=e1.byte imm=0x1", "halt"),
            "mem_e0.write": text("sync", "nop n=7", "write a=0 s=e1", "nop n=3", "halt"),
        },
        image={(0, 0): np.array([1, 2, 3, 4], np.int8)},
        outputs=(Port("n", (4,), 1, 4, (Column((0,), 0),), "int8"),),
    )
    program = dataclasses.replace(program, cycles=cycles(program))
    with open_device("golden", NANO) as device:
        device.load(program)
        for _ in range(3):
            assert device.run({}).outputs["n"].tolist() == [2, 3, 4, 5]
        series = device.run({}, count=7)
        assert series.outputs["n"].tolist() == [8, 9, 10, 11]
        assert series.cycles == 7 * program.cycles + 6 * timing(NANO).rerun
        assert device.status().run == RunStatus(series.cycles)
        with pytest.raises(DeviceError, match="counter runs once or more often, not 0 times"):
            device.run({}, count=0)
        with pytest.raises(DeviceError, match=r"1000000000 runs of counter take [\d,]+ cycles, but a chip counts to"):
            device.run({}, count=1_000_000_000)


def test_a_program_that_fetches_text_runs_once_at_a_time() -> None:
    queue = geometry(NANO).by_name["mem_e0.write"]
    fetch = f"ifetch s={queue.fetches[0]} a=9 n=1"
    text = tuple(parse_instruction(line) for line in ("notify", fetch, "halt"))
    device = Device(GoldenChip(NANO))
    device.load(Program(name="fetcher", config=NANO, text={queue.name: text}, cycles=3))
    with pytest.raises(DeviceError, match=r"fetcher fetches text while it runs \(mem_e0.write\), which stays in"):
        device.run({}, count=2)


def test_image_runs_are_as_long_as_they_can_be(copier: Program) -> None:
    runs = image_runs(copier.image)
    assert [(place, len(words)) for place, words in runs] == [((0, 63), 1), ((1, 4), 2), ((3, 1), 1)]
    again = {(s, a + i): word for (s, a), words in runs for i, word in enumerate(words)}
    assert {place: word.tolist() for place, word in again.items()} == {
        place: word.tolist() for place, word in copier.image.items()
    }
    assert image_runs({}) == []


def port(
    dtype: str,
    scale: float = 1.0,
    zero_point: int = 0,
    cols: int = 6,
    slices: tuple[int, ...] = (0,),
    stored: str = "int8",
) -> Port:
    columns = tuple(Column(slices, 10 * k) for k in range(-(-cols // NANO.lanes)))
    return Port("p", (2, cols), 2, cols, columns, dtype, scale, zero_point, stored)


@pytest.mark.parametrize("zero_point", [0, 3, -128, 127])
@pytest.mark.parametrize("scale", [1.0, 0.1, 0.0078125, 3e-7])
def test_float_inputs_become_what_onnx_runtime_makes_of_them(scale: float, zero_point: int) -> None:
    scale = float(np.float32(scale))
    rng = np.random.default_rng(SEED)
    ties = (np.arange(-300, 300, dtype=np.float32) + np.float32(0.5)) * np.float32(scale)
    noise = rng.normal(scale=100 * scale, size=2000).astype(np.float32)
    extremes = np.array([np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0], np.float32)
    values = np.concatenate([ties, noise, extremes])

    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, [len(values)])],
        [helper.make_tensor_value_info("q", 3, [len(values)]), helper.make_tensor_value_info("y", 1, [len(values)])],
        [helper.make_tensor("s", 1, [], [scale]), helper.make_tensor("z", 3, [], [zero_point])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    codes, reals = onnxruntime_session(model.SerializeToString()).run(None, {"x": values})

    whole = Port("x", values.shape, 1, len(values), (Column((0,), 0),), "float32", scale, zero_point)
    stored = to_chip(whole, values)
    np.testing.assert_array_equal(stored[0], codes)
    np.testing.assert_array_equal(from_chip(whole, stored), reals)


def test_a_nan_becomes_the_lowest_code() -> None:
    assert to_chip(port("float32", cols=1), np.array([[np.nan], [1.0]], np.float32)).tolist() == [[-128], [1]]


def test_uint8_is_moved() -> None:
    values = np.array([[0, 1, 127, 128, 254, 255]] * 2, np.uint8)
    stored = to_chip(port("uint8"), values)
    assert stored[0].tolist() == [-128, -127, -1, 0, 126, 127]
    np.testing.assert_array_equal(from_chip(port("uint8"), stored), values)


def test_indices_are_two_bytes_each_and_may_count_from_the_end() -> None:
    place = Port("i", (2, 2), 4, 2, (Column((0,), 0),), "int64", stored="index", entries=700)
    stored = to_chip(place, np.array([[0, 699], [-1, -700]]))
    assert stored.astype(np.uint8).tolist() == [[0, 0], [699 % 256, 2], [699 % 256, 2], [0, 0]]
    for wrong in (700, -701):
        with pytest.raises(InputError, match=f"input 'i' holds the index {wrong}, but there are 700 rows"):
            to_chip(place, np.array([[0, 1], [wrong, 2]]))


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("int8", "int8"), ("uint8", "int8"), ("int32", "int32"), ("float32", "int8"), ("float32", "float32")],
)
def test_ports_lie_in_sram_as_they_say(dtype: str, stored: str) -> None:
    """Written through the driver, found by address; padding lanes are zero; read back unchanged."""
    rng = np.random.default_rng(SEED)
    slices = (1,) if stored == "int8" else (3, 1, 0, 2)
    place = port(dtype, slices=slices, stored=stored)
    values: NDArray[Any] = rng.integers(-(2**31), 2**31, place.shape).astype(np.int32)
    if stored == "int8":
        values = (values % 100).astype(dtype)
    elif stored == "float32":
        values = rng.normal(0, 1e6, place.shape).astype(np.float32)
    program = Program(
        name="still",
        config=NANO,
        text={"mem_e0.read": tuple(parse_instruction(line) for line in ("notify", "halt"))},
        inputs=(place,),
        outputs=(dataclasses.replace(place, name="q"),),
        cycles=1,
    )
    chip = GoldenChip(NANO)
    for number in range(4):
        chip.write_memory(number, 0, np.full((NANO.mem_words, NANO.lanes), 77, np.int8))
    device = Device(chip)
    device.load(program)
    result = device.run({"p": values})
    np.testing.assert_array_equal(result.outputs["q"], values)
    assert result.outputs["q"].dtype == values.dtype

    patterns = values.view(np.int32) if stored == "float32" else values.astype(np.int64)
    expected = patterns - (128 if dtype == "uint8" else 0)
    for row in range(2):
        for lane in range(8):
            for plane, number in enumerate(slices):
                byte = int(chip.read_memory(number, 10 * (lane // 4) + row, 1)[0, lane % 4])
                value = int(expected[row, lane]) if lane < 6 else 0
                assert byte & 0xFF == value >> 8 * plane & 0xFF


KEPT = Program(
    name="still",
    config=NANO,
    text={"mem_e0.read": tuple(parse_instruction(line) for line in ("notify", "halt"))},
    cycles=1,
    states=(
        Port("wide", (5, 6), 5, 6, (Column((3, 1, 0, 2), 10), Column((0, 1, 2, 3), 40)), "int32", stored="int32"),
        Port("dealt", (7, 3), 7, 3, (Column((2, 0), 30, ((1, 3),), dealt=True),), "int8"),
    ),
)
"""Nothing runs, and everything is kept."""


def kept(*, wired: bool = False) -> tuple[GoldenChip, Device]:
    """A chip full of 77s, and its device: itself, or behind a wire."""
    chip = GoldenChip(NANO)
    for number in range(4):
        chip.write_memory(number, 0, np.full((NANO.mem_words, NANO.lanes), 77, np.int8))
    device = Device(BridgedChip(ModelWire(BridgeModel(chip)), NANO, patience=Patience(1.0)) if wired else chip)
    device.load(KEPT)
    return chip, device


@pytest.mark.parametrize("wired", [False, True])
def test_states_lie_in_sram_as_they_say(wired: bool) -> None:
    rng = np.random.default_rng(SEED)
    chip, device = kept(wired=wired)
    values = rng.integers(-128, 128, (7, 3)).astype(np.int8)
    assert device.write_state("dealt", values) == 2 * 7
    np.testing.assert_array_equal(device.read_state("dealt"), values)
    for slices in ((2, 0), (1, 3)):
        for row in range(7):
            (word,) = chip.read_memory(slices[row % 2], 30 + row // 2, 1)
            np.testing.assert_array_equal(word, [*values[row], 0])
        # There is no eighth row.
        np.testing.assert_array_equal(chip.read_memory(slices[1], 33, 1), [[77] * 4])


def test_the_first_rows_of_a_state_leave_the_others_as_they_are() -> None:
    rng = np.random.default_rng(SEED)
    _, device = kept()
    wide = rng.integers(-(2**31), 2**31, (5, 6)).astype(np.int32)
    device.write_state("wide", wide)
    device.write_state("dealt", np.ones((7, 3), np.int8))
    device.run({})
    assert device.write_state("wide", ~wide[:2]) == 2 * 2 * 4
    assert device.write_state("dealt", np.zeros((4, 3), np.int8)) == 2 * 4
    assert device.write_state("dealt", np.zeros((0, 3), np.int8)) == 0
    np.testing.assert_array_equal(device.read_state("wide"), np.concatenate([~wide[:2], wide[2:]]))
    np.testing.assert_array_equal(device.read_state("dealt"), np.repeat([0, 1], [4, 3])[:, None] * np.ones((1, 3)))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("other", np.zeros((1, 3), np.int8), "still has no state 'other'; its states are: wide, dealt"),
        ("dealt", np.zeros((8, 3), np.int8), r"state 'dealt' is int8\[7, 3\], but int8\[8, 3\] was given"),
        ("dealt", np.zeros((1, 4), np.int8), r"but int8\[1, 4\] was given"),
        ("dealt", np.zeros((1, 3), np.int32), r"but int32\[1, 3\] was given"),
        ("dealt", np.zeros(3, np.int8), r"but int8\[3\] was given"),
    ],
)
def test_states_that_do_not_fit(name: str, values: NDArray[Any], message: str) -> None:
    _, device = kept()
    with pytest.raises(InputError, match=message):
        device.write_state(name, values)


def test_a_device_without_a_program_has_no_states() -> None:
    with pytest.raises(DeviceError, match="no program is loaded"):
        Device(GoldenChip(NANO)).read_state("dealt")
