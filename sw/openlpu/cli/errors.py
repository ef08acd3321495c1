# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the command line itself objects to, and what a run may end with."""


class UserError(ValueError):
    """A request that cannot be met; the message is for the user. Exit status 2."""


class RunFailure(Exception):
    """The command worked, and what it ran was wrong: wrong bytes, wrong cycles, a fault. Exit status 1."""
