# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu system`, and `lpu bench --chips`: what they say, and how they refuse."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
CHIP, PAIR = ROOT / "examples/llama/chip.toml", ROOT / "examples/llama/pair.toml"
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
    alone = json.loads(lpu("llm", *asked, "--prefill", "tokens", "--config", CHIP).stdout)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", CHIP), "chip.toml: one chip: say how many with --chips, or give a config of a system"),
        (("--config", PAIR, "--chips", 2), "a config of a system says how many chips it has: leave out --chips"),
        (("--config", "lab32", "--chips", 18), "config field 'c2c_links': 17 is not a whole number in 0..16"),
        (("--config", "ulx3s", "--chips", 2), "keys are loaded as columns, which config 'ulx3sx2' cannot"),
        (("--config", "nothing.toml"), "config file nothing.toml: No such file or directory"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(arguments: tuple[object, ...], message: str) -> None:
    result = lpu("system", "report", SMALL, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
