"""Failover testing: emulators of the providers and the faults that they can have."""

from router.lab.answers import Answer, ToolCall
from router.lab.assertions import assert_no_silent_changes
from router.lab.emulate import InMemory, emulate, emulate_all, in_memory
from router.lab.emulators import EMULATORS, Emulator, Received
from router.lab.faults import Fault

__all__ = [
    "EMULATORS",
    "Answer",
    "Emulator",
    "Fault",
    "InMemory",
    "Received",
    "ToolCall",
    "assert_no_silent_changes",
    "emulate",
    "emulate_all",
    "in_memory",
]
