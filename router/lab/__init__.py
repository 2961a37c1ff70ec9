"""Failover testing: emulators of the providers and the faults that they can have."""

from router.lab.answers import Answer, ToolCall
from router.lab.assertions import assert_no_silent_changes
from router.lab.emulate import emulate, emulate_all
from router.lab.emulators import EMULATORS, Emulator, Received
from router.lab.faults import Fault

__all__ = [
    "EMULATORS",
    "Answer",
    "Emulator",
    "Fault",
    "Received",
    "ToolCall",
    "assert_no_silent_changes",
    "emulate",
    "emulate_all",
]
