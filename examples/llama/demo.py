# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Let a chip write: the example Llama on the RTL and on the golden model, token by token: `make demo-llm`.

Weights, caches and program lie in the SRAM of the chip. It is given the prompt, a token a run, and then one run of 32
tokens: it finds the likeliest, looks up its embedding, and goes on, with no host in between.
"""

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from openlpu.arch.presets import ULX3S
from openlpu.arch.timing import timing
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import load_checkpoint
from openlpu.llm.program import compile_llama, context_for
from openlpu.llm.quantise import quantise
from openlpu.llm.session import Session
from openlpu.llm.tokens import encode
from openlpu.runtime.driver import DeviceError, open_device

CONFIG = ULX3S
MODEL = Path(__file__).parent / "model"
PROMPT = "Return a new"
TOKENS = 32


def main() -> int:
    """The whole job; returns the exit status."""
    out = Console(highlight=False)
    checkpoint = load_checkpoint(MODEL)
    prompt = encode(checkpoint, PROMPT)
    context = context_for(checkpoint.shape, len(prompt) + TOKENS, CONFIG)
    program = compile_llama(quantise(checkpoint, own_texts(checkpoint)), context, CONFIG)
    predicted = timing(CONFIG).series(program.cycles, TOKENS)
    table = Table(box=None)
    for heading in ("", f"cycles for {TOKENS} tokens", "predicted", "cycles a token", "seconds here"):
        table.add_column(heading, justify="left" if not heading else "right")
    written = {}
    try:
        for backend in ("golden", "rtl"):
            with open_device(backend, CONFIG) as device:
                device.load(program)
                session = Session(device)
                session.feed(prompt)
                start = time.perf_counter()
                written[backend] = found = session.generate(TOKENS)
                seconds = f"{time.perf_counter() - start:.1f}"
            each = f"{found.cycles / TOKENS:,.2f}"
            table.add_row(backend, f"{found.cycles:,}", f"{predicted:,}", each, seconds)
    except (DeviceError, RuntimeError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False, style="bold red")
        return 1
    out.print(PROMPT, end="", markup=False, style="dim")
    out.print(checkpoint.tokenizer.decode(written["rtl"].tokens), markup=False)
    out.print()
    out.print(table)
    rate = 1e6 * CONFIG.clock_mhz * TOKENS / written["rtl"].cycles
    out.print(f"{checkpoint.parameters:,} parameters; {rate:,.0f} tokens/s at {CONFIG.clock_mhz:g} MHz")
    equal = written["golden"] == written["rtl"] and written["rtl"].cycles == predicted
    out.print(f"the same tokens and cycles on both, and as predicted: {'yes' if equal else 'NO'}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
