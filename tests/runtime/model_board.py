# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The model of the bridge behind a pseudo-terminal: a serial port without a simulator."""

import os
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from openlpu.verif.bridge_model import BridgeModel


@contextmanager
def model_port(model: BridgeModel) -> Iterator[str]:
    """The path of a serial port on which `model` answers."""
    board_end, client_end = os.openpty()
    stop, stopped = os.pipe()
    tty.setraw(client_end)

    def serve() -> None:
        while board_end in select.select([board_end, stop], [], [])[0]:
            os.write(board_end, model.answer(os.read(board_end, 4096)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(client_end)
    finally:
        os.close(stopped)
        thread.join()
        for end in (board_end, client_end, stop):
            os.close(end)
