# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu plan`: what it says, and how it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openlpu.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAIR = ROOT / "examples/llama/pair.toml"
SMALL = ROOT / "tests/llm/fixtures/multi_query"


def lpu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_config_json_is_enough(tmp_path: Path) -> None:
    shutil.copy(SMALL / "config.json", tmp_path)
    asked = ("plan", tmp_path, "--config", PAIR, "--context", 20)
    result = lpu(*asked, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["model"], found["chips"], found["context"]) == (tmp_path.name, 2, 32)
    assert found["groups"] == [{"first_chip": 0, "layers": [0], "output": True}]
    assert found["cycles_per_token"] == sum(
        (found["layer"]["cycles"], found["output"]["cycles"], found["rerun_cycles"])
    )
    assert sum(found["rows_of_chips"]["layer.end.added"]) == 4
    assert 0 < found["layer"]["link_share"] < 1
    shown = lpu(*asked).stdout
    assert f"{found['cycles_per_token']:,}" in shown
    assert all(sentence in shown for sentence in found["assumptions"])


@pytest.mark.parametrize("more", [(PAIR,), ("lab32", "--group", 2, "--chips", 4)], ids=["pair", "lab32"])
def test_what_chips_share_has_names(more: tuple[object, ...]) -> None:
    shown = lpu("plan", SMALL, "--context", 20, "--config", *more).stdout
    for what in ("heads: q, k and v of them", "columns of o", "columns of gate and up", "columns of down"):
        assert what in shown


def test_a_context_ends_where_the_network_ends() -> None:
    assert json.loads(lpu("plan", SMALL, "--config", "ulx3s", "--json").stdout)["context"] == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("llama9", "--config", "tsp1"), "no model 'llama9': use one of smollm2-135m, "),
        ((ROOT / "docs", "--config", "tsp1"), "config.json cannot be read: No such file or directory"),
        (("llama2-7b", "--config", "nano"), "17 chips of config 'nano', the most that can share one, have 17,408"),
        (("llama2-7b", "--config", PAIR), "config 'ulx3s_linked', the most that can share one, have 4,456,448"),
        ((SMALL, "--config", "ulx3s16"), "keys are loaded as columns, which config 'ulx3s16' cannot"),
        ((SMALL, "--config", PAIR, "--chips", 2), "a config of a system says how many chips it has: leave out --chips"),
        ((SMALL, "--config", PAIR, "--group", 2), "all chips of a system share every layer: leave out --group"),
        ((SMALL, "--config", "ulx3s", "--group", 18), "no links for a group of 18 chips: choose a smaller one"),
        ((SMALL, "--config", "nothing.toml"), "config file nothing.toml: No such file or directory"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(arguments: tuple[object, ...], message: str) -> None:
    result = lpu("plan", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_system_whose_chips_have_no_links_says_what_to_set(tmp_path: Path) -> None:
    path = tmp_path / "apart.toml"
    path.write_text('name = "apart"\nchips = 2\n\n[chip]\nbase = "ulx3s"\n')
    result = lpu("plan", SMALL, "--config", path)
    assert result.exit_code == 2
    assert "'chip.c2c_links': 0, but 2 chips" in result.stderr
