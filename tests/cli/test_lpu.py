# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The `lpu` command: what it prints, what it writes, and how it refuses."""

import dataclasses
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper
from tests.compiler import onnx_models as models
from tests.runtime.model_board import model_port

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import NANO, find_config
from openlpu.arch.program import Program
from openlpu.arch.status import Fault, RunStatus
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.cli import benching
from openlpu.cli.main import main
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.reference import evaluate
from openlpu.compiler.workloads import gemm
from openlpu.model.golden import GoldenChip
from openlpu.runtime import driver, program_file
from openlpu.verif.bridge_model import BridgeModel
from openlpu.verif.onnx_reference import onnxruntime_session

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
SMALL = ("--k", 8, "--n", 8)
IMAGES = ROOT / "examples" / "digits" / "digits_test.npz"


def lpu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def lpu_json(*arguments: object) -> dict[str, Any]:
    result = lpu(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.fixture(scope="module")
def product() -> Program:
    return compile_graph(gemm(3, 8, 8, seed=7), NANO)


@pytest.fixture
def program(tmp_path: Path, product: Program) -> Path:
    path = tmp_path / "product.lpu"
    path.write_bytes(program_file.to_bytes(product))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a failing command is told to write; whatever happens, it must stay empty."""
    path = tmp_path / "out"
    path.mkdir()
    yield path
    assert list(path.iterdir()) == []


def save_model(path: Path, *nodes: onnx.NodeProto, dtype: int = TensorProto.FLOAT) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "model",
        [helper.make_tensor_value_info("x", dtype, [1, 4])],
        [helper.make_tensor_value_info("y", dtype, [1, 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def refused(result: Result, *words: str) -> None:
    """Exit status 2, nothing on standard output, one line on standard error that contains `words`."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("lpu: error: ")
    for word in words:
        assert word in lines[0], lines[0]


# What works.


def test_configs_lists_every_preset() -> None:
    text = lpu("configs").stdout
    assert all(name in text for name in ("nano", "ulx3s", "ulx3s8", "ulx3s16", "lab32", "tsp1"))
    presets = json.loads(lpu("configs", "--json").stdout)
    assert presets[1]["name"] == "ulx3s"
    assert presets[1]["derived"]["MACs a cycle"] == 256


def test_compile_run_and_compare_with_onnx_runtime(tmp_path: Path) -> None:
    program, source, sink = tmp_path / "d.lpu", tmp_path / "in.npz", tmp_path / "out.npz"
    images = np.load(IMAGES)["images"][:5]
    np.savez(source, image=images)
    compiled = lpu_json("compile", DIGITS, "--config", "ulx3s", "--batch", 5, "-o", program)
    ran = lpu_json("run", program, "--input", source, "-o", sink)
    session = onnxruntime_session(str(DIGITS))
    np.testing.assert_array_equal(np.load(sink)["logits"], session.run(None, {"image": images})[0])
    assert ran["cycles"] == ran["predicted_cycles"] == compiled["predicted_cycles"]
    assert ran["lower_bound"] == compiled["lower_bound"] <= ran["cycles"]
    assert ran["ratio"] == pytest.approx(ran["cycles"] / ran["lower_bound"], abs=1e-3)
    assert ran["wall_seconds"] > 0
    assert ran["outputs"] == {"logits": {"shape": [5, 10], "dtype": "float32"}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.lpu", "in.npz", "out.npz"]


def test_the_config_may_be_a_file(tmp_path: Path) -> None:
    config = tmp_path / "mine.json"
    config.write_text(json.dumps({**NANO.to_dict(), "name": "mine", "mem_words": 128}))
    answer = lpu_json("bench", "gemv", "--k", 8, "--n", 8, "--config", config)
    assert answer["config"] == "mine"
    assert answer["digest"] != NANO.digest


@pytest.mark.parametrize(("workload", "rows"), [("gemm", 6), ("gemv", 1)])
def test_bench_agrees_with_its_reference(workload: str, rows: int) -> None:
    shape = ["--m", 6] if workload == "gemm" else []
    answer = lpu_json("bench", workload, *shape, "--k", 12, "--n", 8, "--config", "nano")
    assert answer["program"] == f"gemm_{rows}x12x8"
    assert answer["mismatches"] == 0
    assert answer["cycles"] == answer["predicted_cycles"] >= answer["lower_bound"]
    assert answer["wall_seconds"] >= 0
    assert answer["macs"] == rows * 12 * 8


def test_bench_of_an_lstm() -> None:
    answer = lpu_json("bench", "lstm", "--hidden", 10, "--batch", 3, "--config", "lab32")
    assert answer["program"] == "lstm_10_batch_3"
    assert answer["mismatches"] == 0
    assert answer["macs"] == 3 * 20 * 40


def test_bench_of_a_feed_forward_part() -> None:
    answer = lpu_json("bench", "ffn", "--m", 3, "--hidden", 40, "--ffn", 70, "--config", "lab32")
    assert answer["program"] == "ffn_3x40x70"
    assert answer["mismatches"] == 0
    assert answer["cycles"] == answer["predicted_cycles"] >= answer["lower_bound"]
    assert answer["macs"] == 3 * 3 * 40 * 70


def test_bench_of_a_gpt() -> None:
    chip = ROOT / "examples/gpt/chip.toml"
    answer = lpu_json("bench", "gpt", "--config", chip)
    assert (answer["tokens"], answer["mismatches"]) == (16, 0)
    between = timing(find_config(str(chip))).rerun
    assert answer["cycles_per_token"] == answer["predicted_cycles"] + between
    assert answer["cycles"] == 16 * answer["cycles_per_token"] - between
    refused(lpu("bench", "gpt", "--config", "ulx3s16"), "mxm_transposes")


def test_bench_of_a_layer() -> None:
    sizes = {"hidden": 96, "heads": 4, "kv-heads": 2, "head-size": 32, "ffn": 128, "context": 64}
    answer = lpu_json(
        "bench", "layer", *itertools.chain(*((f"--{k}", v) for k, v in sizes.items())), "--config", "lab32"
    )
    assert answer["program"] == "layer_96x128, a layer of 64"
    assert answer["mismatches"] == 0
    assert answer["cycles"] == answer["predicted_cycles"] >= answer["lower_bound"]
    assert answer["macs"] == 96 * (2 * 6 * 32 + 3 * 128) + 2 * 64 * 4 * 32


def test_boards_are_run_on_and_asked(program: Path, product: Program, tmp_path: Path) -> None:
    source, sink = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(source, x=np.ones((3, 8), np.int8))
    with model_port(BridgeModel(GoldenChip(NANO))) as port:
        backend = f"serial:{port}"
        ran = lpu_json("run", program, "--input", source, "-o", sink, "--backend", backend)
        assert ran["backend"] == backend
        assert ran["cycles"] == product.cycles
        series = lpu_json("run", program, "--input", source, "-o", sink, "--count", 3, "--backend", backend)
        assert series["cycles"] == timing(NANO).series(product.cycles, 3)
        assert (series["count"], series["ratio"]) == (3, round(series["cycles"] / 3 / series["lower_bound"], 3))
        refused(lpu("run", program, "--input", source, "-o", sink, "--count", 0), "--count")
        lpu_json("run", program, "--input", source, "-o", sink, "--backend", backend)
        said = lpu_json("status", "--backend", backend)
        assert said["config"] == "nano"
        assert said["run"] == {"cycles": product.cycles, "fault": None, "corrected": 0, "uncorrectable": 0}
        assert "nano" in lpu("status", "--backend", backend).stdout
        refused(lpu("status", "--config", "ulx3s", "--backend", backend), "is nano", "not ulx3s")
        assert lpu_json("bench", "gemm", "--m", 2, "--config", "nano", "--backend", backend, *SMALL)["mismatches"] == 0
    refused(lpu("run", program, "--input", source, "-o", tmp_path / "no.npz", "--backend", backend), port, "no port")
    refused(lpu("status"), "name its config")
    assert lpu_json("status", "--config", "nano")["running"] is False


def test_virtual_boards_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refused(lpu("vboard", "nonesuch"), "nonesuch", "ulx3s")
    refused(lpu("vboard", "nano", "--chips", "40"), "c2c_links", "39")
    system = tmp_path / "pair.json"
    system.write_text(json.dumps(SystemConfig.of(NANO, 2).to_dict()))
    refused(lpu("vboard", str(system), "--chips", "2"), "pair.json", "leave out --chips")

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'amaranth'", name="amaranth")

    monkeypatch.setattr("openlpu.cli.boards.importlib.import_module", missing)
    refused(lpu("vboard", "nano"), "amaranth", "openlpu[rtl]")


def test_bench_notices_a_wrong_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = evaluate

    def off_by_one(*arguments: Any) -> dict[str, Any]:
        return {
            name: value + (np.arange(value.size).reshape(value.shape) == 3) for name, value in exact(*arguments).items()
        }

    monkeypatch.setattr(benching, "evaluate", off_by_one)
    result = lpu("bench", "gemv", "--k", 8, "--n", 8, "--config", "nano", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["mismatches"] == 1
    assert result.stderr == "lpu: error: gemm_1x8x8: 1 wrong results on golden (seed 0)\n"


def stand_in_generator(monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> None:
    """The real one takes half a minute, and has its own tests."""

    def write(config: ChipConfig, directory: Path) -> None:
        (directory / "chip.v").write_text(f"module {config.name}")
        if fails:
            raise ValueError("config field 'c2c_links': no RTL yet")
        (directory / "chip.json").write_text("{}")

    monkeypatch.setitem(sys.modules, "openlpu.hdl.generate", cast(Any, SimpleNamespace(write=write)))


def test_generate_writes_into_a_new_or_existing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_generator(monkeypatch)
    place = tmp_path / "rtl"
    for name in ("nano", "ulx3s"):
        answer = lpu_json("generate", name, "-o", place)
        assert answer["files"] == [str(place / "chip.json"), str(place / "chip.v")]
        assert (place / "chip.v").read_text() == f"module {name}"
    (place / "mine.txt").write_text("kept")
    assert lpu("generate", "nano", "-o", place).exit_code == 0
    assert sorted(path.name for path in place.iterdir()) == ["chip.json", "chip.v", "mine.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["rtl"]


def test_generate_refuses_a_config_without_rtl(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_generator(monkeypatch, fails=True)
    refused(lpu("generate", "nano", "-o", folder / "rtl"), "nano", "'c2c_links'")


def test_generate_without_the_rtl_extra_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openlpu.hdl.generate", None)
    refused(lpu("generate", "nano", "-o", folder / "rtl"), "openlpu[rtl]")


def test_check_and_report(program: Path, product: Program) -> None:
    assert lpu_json("check", program)["ok"] is True
    answer = lpu_json("report", program)
    assert answer["predicted_cycles"] == product.cycles
    assert answer["lower_bound"] == max(product.resource_bound, product.chain_bound)
    assert answer["microseconds"] == pytest.approx(product.cycles / NANO.clock_mhz, abs=1e-3)
    # By hand: 3 rows against 2 x 2 tiles of 4 x 4, each row passing the array once a tile.
    acts = next(use for use in answer["utilisation"] if use["queue"] == "mxm_e0.acts")
    assert acts["dispatches"] == answer["instructions"]["abc"] == 12
    assert acts["utilisation"] == pytest.approx(100 * 12 / product.cycles, abs=0.1)
    words = sum(region["last"] - region["first"] + 1 for region in answer["sram"] if region["holds"] == "input x")
    assert words == 6
    assert sum(r["last"] - r["first"] + 1 for r in answer["sram"] if r["holds"] == "constants") == len(product.image)
    assert "mxm_e0.acts" in lpu("report", program).stdout


def test_disasm_shows_every_instruction_and_its_cycle(program: Path, product: Program) -> None:
    lines = lpu("disasm", program).stdout.splitlines()
    assert len(lines) == 1 + sum(1 + len(text) for text in product.text.values() if text)
    texts = lpu_json("disasm", program)
    assert {name: len(text) for name, text in texts.items()} == {n: len(t) for n, t in product.text.items()}
    at_zero = [line for line in lines if line.endswith("# 0")]
    assert any("read" in line or "abc" in line or "lw" in line for line in at_zero)


def test_dump_ir_writes_every_pass(tmp_path: Path) -> None:
    arguments = ["compile", DIGITS, "--config", "ulx3s", "--batch", 1, "-o", tmp_path / "d.lpu", "--dump-ir"]
    assert lpu(*arguments, tmp_path / "ir").exit_code == 0
    dumped = sorted((tmp_path / "ir").iterdir())
    assert dumped[0].name == "01-graph.txt"
    assert len(dumped) >= 4
    printed = lpu(*arguments, "-").stdout
    assert dumped[0].read_text() in printed


def test_a_compiled_file_is_the_same_each_time_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "d.lpu"
    contents = []
    for _ in range(2):
        assert lpu("compile", DIGITS, "--config", "ulx3s", "--batch", 2, "-o", path).exit_code == 0
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_pipes_are_written_in_place(program: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.zeros((3, 8), np.int8))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert lpu("run", program, "--input", tmp_path / "in.npz", "-o", pipe).exit_code == 0
        packed = os.read(reader, 1 << 20)
    finally:
        os.close(reader)
    assert np.load(io.BytesIO(packed))["y"].shape == (3, 8)
    assert pipe.is_fifo()


def test_the_installed_command() -> None:
    command = Path(sys.executable).parent / "lpu"
    good = subprocess.run([command, "configs"], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run([command, "check", "nowhere.lpu"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert bad.stderr.startswith("lpu: error: nowhere.lpu: ")


# What is refused.


def test_compile_refuses_files_that_are_no_model(tmp_path: Path, folder: Path) -> None:
    target = folder / "p.lpu"
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    half = tmp_path / "half.onnx"
    half.write_bytes(DIGITS.read_bytes()[: DIGITS.stat().st_size // 2])
    refused(lpu("compile", tmp_path / "none.onnx", "--config", "nano", "-o", target), "none.onnx")
    refused(lpu("compile", text, "--config", "nano", "-o", target), "text.onnx")
    refused(lpu("compile", half, "--config", "nano", "-o", target), "half.onnx")
    refused(lpu("compile", tmp_path, "--config", "nano", "-o", target), str(tmp_path))


def test_compile_refuses_models_it_does_not_support(tmp_path: Path, folder: Path) -> None:
    target = folder / "p.lpu"
    one = save_model(tmp_path / "one.onnx", helper.make_node("Sinh", ["x"], ["y"]))
    refused(lpu("compile", one, "--config", "nano", "-o", target), "Sinh")
    two = save_model(
        tmp_path / "two.onnx", helper.make_node("Sinh", ["x"], ["h"]), helper.make_node("Softsign", ["h"], ["y"])
    )
    refused(lpu("compile", two, "--config", "nano", "-o", target), "Sinh", "Softsign")
    double = save_model(tmp_path / "double.onnx", helper.make_node("Relu", ["x"], ["y"]), dtype=TensorProto.DOUBLE)
    refused(lpu("compile", double, "--config", "nano", "-o", target), "double")


def test_compile_says_where_onnx_runtime_computes_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    # On x86-64 ONNX Runtime computes a MatMul of int8 in floats.
    onnx.save(models.qdq_dense(np.random.default_rng(0), "int8", op="MatMul", bias=""), path)
    result = lpu("compile", path, "--config", "lab32", "-o", tmp_path / "p.lpu")
    assert result.exit_code == 0
    assert result.stderr.startswith("lpu: note: MatMul")
    (note,) = lpu_json("compile", path, "--config", "lab32", "-o", tmp_path / "p.lpu")["notes"]
    assert result.stderr == f"lpu: note: {note}\n"


def test_compile_refuses_what_does_not_fit(folder: Path) -> None:
    refused(lpu("compile", DIGITS, "--config", "nano", "--batch", 1, "-o", folder / "p.lpu"), "SRAM")
    refused(lpu("bench", "gemm", "--m", 10**6, "--k", 10**6, "--n", 10**6, "--config", "nano"), "SRAM")
    refused(lpu("bench", "gemm", "--m", 2, "--k", 24, "--n", 37, "--config", "nano"), "SRAM")


def test_wrong_configs_are_refused(tmp_path: Path, folder: Path) -> None:
    def compiled_for(config: object) -> Result:
        return lpu("compile", DIGITS, "--config", config, "--batch", 1, "-o", folder / "p.lpu")

    broken, negative, unknown = tmp_path / "a.toml", tmp_path / "b.json", tmp_path / "c.json"
    broken.write_text("lanes = = 4")
    negative.write_text(json.dumps({**NANO.to_dict(), "lanes": -4}))
    unknown.write_text(json.dumps({**NANO.to_dict(), "colour": "red"}))
    refused(compiled_for("nonesuch"), "nonesuch", "ulx3s")
    refused(compiled_for(tmp_path / "none.toml"), "none.toml")
    refused(compiled_for(broken), "a.toml")
    refused(compiled_for(negative), "lanes")
    refused(compiled_for(unknown), "colour")
    refused(lpu("generate", "nonesuch", "-o", folder / "rtl"), "nonesuch")


def test_wrong_places_are_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(*_: object, **__: object) -> None:
        raise AssertionError("compiled before the output was tried")

    monkeypatch.setattr("openlpu.cli.compiling.compile_graph", too_late)
    arguments = ["compile", DIGITS, "--config", "ulx3s", "--batch", 1, "-o"]
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    refused(lpu(*arguments, tmp_path / "missing" / "p.lpu"), "missing", "no such folder")
    refused(lpu(*arguments, tmp_path), "is a folder")
    refused(lpu(*arguments, tmp_path / "file" / "p.lpu"), "no such folder")
    refused(lpu("generate", "nano", "-o", tmp_path / "file"), "is a file")
    refused(lpu("generate", "nano", "-o", tmp_path / "missing" / "rtl"), "no such folder")
    refused(lpu(*arguments, tmp_path / "p.lpu", "--dump-ir", tmp_path / "missing" / "ir"), "missing")
    refused(lpu(*arguments, tmp_path / "p.lpu", "--dump-ir", "-", "--json"), "--dump-ir")
    assert sorted(tmp_path.iterdir()) == before


def test_an_unwritable_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Simulated: the superuser, whom containers like, may write everywhere.
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", denied)
    refused(
        lpu("compile", DIGITS, "--config", "ulx3s", "--batch", 1, "-o", tmp_path / "p.lpu"),
        "p.lpu: cannot be written: Permission denied",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["check", "disasm", "report", "run"])
def test_damaged_programs_are_refused(command: str, program: Path, folder: Path) -> None:
    source = program.parent / "in.npz"
    np.savez(source, x=np.zeros((3, 8), np.int8))
    more = ["--input", source, "-o", folder / "y.npz"] if command == "run" else []
    content = program.read_bytes()
    damaged = program.parent / "damaged.lpu"
    seed = 5
    random = np.random.default_rng(seed)
    spoilt = [b"", content[:7], content[: len(content) // 2], content[:-1], content + b"\0"]
    for bit in random.integers(0, 8 * len(content), 12):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << (bit % 8)
        spoilt.append(bytes(flipped))
    for number, wrong in enumerate(spoilt):
        damaged.write_bytes(wrong)
        result = lpu(command, damaged, *more)
        assert result.exit_code == 2, f"damage {number}, seed {seed}: {result.output}"
        refused(result, "damaged.lpu")
    refused(lpu(command, program.parent / "none.lpu", *more), "none.lpu")


def test_a_program_wrong_in_time_is_refused_and_never_runs(program: Path, product: Program, folder: Path) -> None:
    (name, text), *_ = [(n, t) for n, t in product.text.items() if n.endswith(".acts")]
    late = dataclasses.replace(product, text={**product.text, name: (text[0], *text[2:])})
    program.write_bytes(program_file.to_bytes(late))
    refused(lpu("check", program), "violation", name)
    np.savez(program.parent / "in.npz", x=np.zeros((3, 8), np.int8))
    ran = lpu("run", program, "--input", program.parent / "in.npz", "-o", folder / "y.npz")
    assert ran.exit_code == 1
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, ["'x'", "missing"]),
        ({"z": np.zeros((3, 8), np.int8)}, ["'z'", "x"]),
        ({"x": np.zeros((3, 8), np.float32)}, ["'x'", "int8[3, 8]", "float32"]),
        ({"x": np.zeros((8, 3), np.int8)}, ["'x'", "[8, 3]"]),
    ],
    ids=["missing", "unknown", "dtype", "shape"],
)
def test_wrong_inputs_are_refused(
    arrays: dict[str, np.ndarray[Any, Any]], words: list[str], program: Path, folder: Path
) -> None:
    source = program.parent / "in.npz"
    np.savez(source, **arrays)  # type: ignore[arg-type]  # the stub confuses arrays with allow_pickle
    refused(lpu("run", program, "--input", source, "-o", folder / "y.npz"), *words)


def test_input_files_that_are_no_npz_are_refused(program: Path, folder: Path) -> None:
    text, single, pickled = (program.parent / name for name in ("text.npz", "single.npy", "pickled.npz"))
    text.write_text("not an npz")
    np.save(single, np.zeros(3))
    np.savez(pickled, x=np.array([{}], dtype=object))
    half = program.parent / "half.npz"
    half.write_bytes(pickled.read_bytes()[:100])
    for source in (text, single, pickled, half, program.parent / "none.npz", program.parent):
        refused(lpu("run", program, "--input", source, "-o", folder / "y.npz"), source.name)


def test_a_missing_compiler_is_the_users_business(program: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(_: ChipConfig) -> None:
        raise RuntimeError("simulating the RTL needs g++")

    monkeypatch.setitem(driver.BACKENDS, "rtl", cast(Any, no_compiler))
    np.savez(program.parent / "in.npz", x=np.zeros((3, 8), np.int8))
    arguments = ["--input", program.parent / "in.npz", "-o", folder / "y.npz", "--backend", "rtl"]
    refused(lpu("run", program, *arguments), "nano", "needs g++")


@pytest.mark.parametrize("wrong", ["cycles", "fault"])
def test_a_device_that_does_not_do_as_predicted_fails(
    wrong: str, program: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(GoldenChip):
        def run(self, count: int = 1) -> RunStatus:
            status = super().run()
            if wrong == "cycles":
                return RunStatus(status.cycles + 1)
            return RunStatus(status.cycles, Fault("mxm_e0.acts", 7, illegal=False))

    monkeypatch.setitem(driver.BACKENDS, "golden", Broken)
    np.savez(program.parent / "in.npz", x=np.zeros((3, 8), np.int8))
    result = lpu("run", program, "--input", program.parent / "in.npz", "-o", folder / "y.npz")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("lpu: error: ")
    assert ("cycles" if wrong == "cycles" else "mxm_e0.acts, cycle 7") in line


def test_usage_errors_are_one_line_too() -> None:
    refused(lpu("compile"), "MODEL")
    refused(lpu("nonsense"), "nonsense")
    refused(lpu("bench", "gemm", "--m", "0"), "--m")
    refused(lpu("bench", "lstm", "--hidden", 10**6, "--config", "nano"), "SRAM")
    refused(lpu("bench", "lstm", "--config", "ulx3s16"), "exp", "recip", "class")
    refused(lpu("bench", "ffn", "--hidden", 10**6, "--config", "lab32"), "SRAM")
    refused(lpu("bench", "layer", "--hidden", 10**6, "--config", "lab32"), "SRAM")
    refused(lpu("bench", "layer", "--heads", 4, "--config", "lab32"), "4 heads", "3 of keys and values")
    refused(lpu("bench", "layer", "--config", "ulx3s16", "--hidden", 64, "--ffn", 64), "mxm_transposes")
    refused(lpu("bench", "gemm", "--backend", "abacus"), "abacus", "golden")


def test_a_bug_is_not_mistaken_for_a_mistake(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_: Path) -> Program:
        raise KeyError("bug")

    monkeypatch.setattr("openlpu.cli.programs.load_any", bug)
    result = lpu("check", program)
    assert isinstance(result.exception, KeyError)


def test_progress_stays_off_pipes(program: Path) -> None:
    assert lpu("check", program).stderr == ""


def test_every_command_speaks_json() -> None:
    def silent(command: click.Command) -> list[str]:
        if isinstance(command, click.Group):
            return [name for member in command.commands.values() for name in silent(member)]
        return [] if "as_json" in {param.name for param in command.params} else [str(command.name)]

    assert isinstance(main, click.Group)
    assert silent(main) == []
