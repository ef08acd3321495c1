# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Let two chips write as one: the example Llama on two linked chips of RTL, token by token: `make demo-chips`.

Each chip has its own clock and half of every matrix, of the heads and of the vocabulary; what both need goes over the
link. One chip of the golden model writes the same text first. Clocks and wires of the RTL are drawn, anew every time.
"""

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from openlpu.arch.presets import ULX3S
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import load_checkpoint
from openlpu.llm.program import compile_llama, compile_llama_system, context_for
from openlpu.llm.quantise import quantise
from openlpu.llm.session import Runner, Session
from openlpu.llm.tokens import encode
from openlpu.runtime.driver import DeviceError, open_device
from openlpu.runtime.joined import JoinedDevice

HERE = Path(__file__).parent
PROMPT = "Return a new"
TOKENS = 32


def main() -> int:
    """The whole job; returns the exit status."""
    out = Console(highlight=False)
    chip, system = ULX3S, SystemConfig.from_file(HERE / "pair.toml")
    checkpoint = load_checkpoint(HERE / "model")
    prompt, model = encode(checkpoint, PROMPT), quantise(checkpoint, own_texts(checkpoint))
    context = context_for(checkpoint.shape, len(prompt) + TOKENS, chip)
    alone = compile_llama(model, context, chip)
    together = compile_llama_system(model, context, system).program
    table = Table(box=None)
    for heading in ("", f"cycles for {TOKENS} tokens", "predicted", "cycles a token", "seconds here"):
        table.add_column(heading, justify="left" if not heading else "right")
    texts, as_predicted = [], True

    def write(what: str, runner: Runner, cycles: int) -> None:
        nonlocal as_predicted
        start, session = time.perf_counter(), Session(runner)
        session.feed(prompt)
        found, predicted = session.generate(TOKENS), timing(chip).series(cycles, TOKENS)
        seconds = f"{time.perf_counter() - start:.1f}"
        table.add_row(what, f"{found.cycles:,}", f"{predicted:,}", f"{found.cycles / TOKENS:,.2f}", seconds)
        texts.append(found.tokens)
        as_predicted &= found.cycles == predicted

    try:
        with open_device("golden", chip) as one:
            one.load(alone)
            write("one chip, golden", one, alone.cycles)
        for backend in ("golden", "rtl"):
            with JoinedDevice(open_device(backend, system)) as chips:
                chips.load(together)
                write(f"{system.chips} chips, {backend}", chips, together.cycles)
    except (DeviceError, RuntimeError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False, style="bold red")
        return 1
    out.print(PROMPT, end="", markup=False, style="dim")
    out.print(checkpoint.tokenizer.decode(texts[-1]), markup=False)
    out.print()
    out.print(table)
    equal = as_predicted and all(tokens == texts[0] for tokens in texts)
    out.print(f"the same tokens on one chip and on {system.chips}, all cycles as predicted: {'yes' if equal else 'NO'}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
