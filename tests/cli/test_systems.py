# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu system`, and `lpu bench --chips`: what they say, and how they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAIR = ROOT / "examples/llama/pair.toml"
DIGITS = ROOT / "examples/digits"
SMALL = ROOT / "tests/llm/fixtures/multi_query"


def lpu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_chips_write_in_the_cycles_that_are_predicted() -> None:
    asked = ("run", SMALL, "--prompt", "Return a new", "--tokens", 5, "--json")
    result = lpu("system", *asked, "--config", PAIR)
    assert result.exit_code == 0, result.stderr
    found, system = json.loads(result.stdout), SystemConfig.from_file(PAIR)
    assert (found["system"], found["chips"], found["link_latency"]) == ("pair", 2, system.latency)
    assert found["cycles"] == found["predicted_cycles_of_all"]
    assert found["cycles"] == timing(system.chip).series(found["predicted_cycles"], 5)
    alone = json.loads(lpu("llm", *asked, "--prefill", "tokens", "--config", "ulx3s").stdout)
    assert found["tokens"] == alone["tokens"]
    assert found["text"] == alone["text"]


def test_a_report_tells_of_chips_links_and_waits() -> None:
    asked = ("system", "report", SMALL, "--context", 16, "--config", PAIR)
    found = json.loads(lpu(*asked, "--json").stdout)
    assert {unit["unit"] for unit in found["units"]} == {"weights", "rows", "VXM"}
    assert [link["sender"] for link in found["links"]] == ["chip 0 link 0", "chip 1 link 0"]
    assert all(link["vectors"] > 0 and max(link["timeline"]) > 0 for link in found["links"])
    least = SystemConfig.from_file(PAIR).latency
    assert all(least < wait["cycles"] < found["cycles"] for wait in found["waits"] if wait["own"])
    assert max(wait["whole"] for wait in found["waits"]) < found["cycles"]
    shown = lpu(*asked).stdout
    assert f"{found['cycles']:,} cycles" in shown
    assert "layer0.o.digits" in shown


def test_a_bench_compares_with_one_chip() -> None:
    asked = ("bench", "ffn", "--m", 4, "--hidden", 32, "--ffn", 64, "--config", "lab32")
    found = json.loads(lpu(*asked, "--chips", 2, "--json").stdout)
    assert found["cycles_of_one_chip"] == json.loads(lpu(*asked, "--json").stdout)["cycles"]
    assert found["speedup"] == round(found["cycles_of_one_chip"] / found["cycles"], 3)
    assert found["mismatches"] == 0


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "two.lpu"
    asked = ("compile", DIGITS / "digits.onnx", "--config", "ulx3s", "--chips", 2, "--batch", 16, "-o", path)
    assert lpu(*asked).exit_code == 0
    return path


def test_an_onnx_network_runs_on_chips_as_on_one(digits: Path, tmp_path: Path) -> None:
    images = np.load(DIGITS / "digits_test.npz")["images"][:16]
    np.savez(tmp_path / "in.npz", image=images)
    run = ("--input", tmp_path / "in.npz", "--json", "-o")
    found = json.loads(lpu("run", digits, *run, tmp_path / "two.npz").stdout)
    assert found["cycles"] == found["predicted_cycles"]
    assert found["chips"] == 2
    lpu("compile", DIGITS / "digits.onnx", "--config", "ulx3s", "--batch", 16, "-o", tmp_path / "one.lpu")
    alone = json.loads(lpu("run", tmp_path / "one.lpu", *run, tmp_path / "one.npz").stdout)
    assert found["cycles"] < alone["cycles"]
    one, two = np.load(tmp_path / "one.npz")["logits"], np.load(tmp_path / "two.npz")["logits"]
    assert one.tobytes() == two.tobytes()


def test_files_for_several_chips_are_read_as_others(digits: Path) -> None:
    assert json.loads(lpu("check", digits, "--json").stdout)["ok"]
    assert "33 cycles from send to receive" in lpu("check", digits).stdout
    report = json.loads(lpu("report", digits, "--json").stdout)
    assert [each["instructions"]["send"] > 0 for each in report["programs"]] == [True, True]
    shown = lpu("report", digits).stdout
    assert "digits, chip 0" in shown
    assert "digits, chip 1" in shown
    texts = json.loads(lpu("disasm", digits, "--json").stdout)
    assert len(texts) == 2
    lines = lpu("disasm", digits).stdout.splitlines()
    assert len(lines) == sum(1 + sum(1 + len(text) for text in each.values() if text) for each in texts)


def test_passes_for_several_chips_are_written(tmp_path: Path) -> None:
    asked = ("compile", DIGITS / "digits.onnx", "--config", "ulx3s", "--chips", 2, "--batch", 1, "--dump-ir")
    assert lpu(*asked, tmp_path / "ir", "-o", tmp_path / "two.lpu").exit_code == 0
    names = sorted(path.name for path in (tmp_path / "ir").iterdir())
    assert names == ["01-graph.txt", "02-kernels.txt", "03-placement.txt", "04-schedule.txt", "05-program.txt"]
    assert (tmp_path / "ir" / "05-program.txt").read_text().count("// chip ") == 2


def test_a_report_tells_of_an_onnx_network() -> None:
    asked = ("system", "report", DIGITS / "digits.onnx", "--batch", 16, "--config", "ulx3s", "--chips", 2, "--json")
    found = json.loads(lpu(*asked).stdout)
    assert sum(link["vectors"] for link in found["links"]) == 3 * 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "ulx3s"), "ulx3s: one chip: say how many with --chips, or give a config of a system"),
        (("--config", PAIR, "--chips", 2), "a config of a system says how many chips it has: leave out --chips"),
        (("--config", "lab32", "--chips", 18), "config field 'c2c_links': 17 is not a whole number in 0..16"),
        (("--config", "ulx3s16", "--chips", 2), "keys are loaded as columns, which config 'ulx3s16x2' cannot"),
        (("--config", PAIR, "--by", "layers"), "has 1 parts that follow one another, and there are 2 chips"),
        (("--config", "nothing.toml"), "config file nothing.toml: No such file or directory"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(arguments: tuple[object, ...], message: str) -> None:
    result = lpu("system", "report", SMALL, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
