# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The bridge and a chip in Verilog against the model of the bridge: a million bytes of requests over a bad wire."""

import random

import pytest
from tests.hdl.test_bridge import ModelPort, messages, random_request

from openlpu.arch import protocol
from openlpu.arch.presets import NANO
from openlpu.verif.bridge_model import BridgeModel
from openlpu.verif.byte_pipe import BytePipe
from openlpu.verif.line_faults import FaultInjector


@pytest.mark.regress
def test_a_million_bytes() -> None:
    """As fast as they can come, in batches of what the bridge can hold: the same replies to every one."""
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    rng = random.Random(seed)
    model = BridgeModel(ModelPort(NANO))
    line = FaultInjector(0.1, rng)
    sent = 0
    with BytePipe(NANO) as chip:
        while sent < 1_000_000:
            batch, answers = b"", b""
            while len(batch) < protocol.BUFFER_BYTES // 2:
                wire = line.relay(random_request(rng, model.expected))
                answers += model.answer(wire)
                batch += wire
            sent += len(batch)
            assert messages(chip.exchange(batch)) == messages(answers)
    assert all(line.injected.values())
