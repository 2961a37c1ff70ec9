"""Failover testing: emulators of the providers, the faults that they can have, and recorded traffic."""

from router.lab.answers import Answer, ToolCall
from router.lab.assertions import assert_attempts, assert_ledger_matches_invoices, assert_no_silent_changes
from router.lab.emulate import InMemory, emulate, emulate_all, in_memory
from router.lab.emulators import EMULATORS, Emulator, Received
from router.lab.faults import Fault
from router.lab.provider_lab import ProviderLab
from router.lab.recorder import Recorder
from router.lab.recording import Recording, RecordingError, read_recording

__all__ = [
    "EMULATORS",
    "Answer",
    "Emulator",
    "Fault",
    "InMemory",
    "ProviderLab",
    "Received",
    "Recorder",
    "Recording",
    "RecordingError",
    "ToolCall",
    "assert_attempts",
    "assert_ledger_matches_invoices",
    "assert_no_silent_changes",
    "emulate",
    "emulate_all",
    "in_memory",
    "read_recording",
]
