"""Failover testing: emulators of the providers and their faults, drills of your own routes file, recorded traffic."""

from router.lab.answers import Answer, ToolCall
from router.lab.assertions import assert_attempts, assert_ledger_matches_invoices, assert_no_silent_changes
from router.lab.drills import Report, adrill, drill, named_scenarios
from router.lab.emulate import InMemory, emulate, emulate_all, in_memory
from router.lab.emulators import EMULATORS, Emulator, Received
from router.lab.faults import Fault
from router.lab.memory import Network
from router.lab.provider_lab import ProviderLab
from router.lab.recorder import Recorder
from router.lab.recording import Recording, RecordingError, read_recording
from router.lab.script import Script, load_scripts
from router.lab.virtual import run_virtually

__all__ = [
    "EMULATORS",
    "Answer",
    "Emulator",
    "Fault",
    "InMemory",
    "Network",
    "ProviderLab",
    "Received",
    "Recorder",
    "Recording",
    "RecordingError",
    "Report",
    "Script",
    "ToolCall",
    "adrill",
    "assert_attempts",
    "assert_ledger_matches_invoices",
    "assert_no_silent_changes",
    "drill",
    "emulate",
    "emulate_all",
    "in_memory",
    "load_scripts",
    "named_scenarios",
    "read_recording",
    "run_virtually",
]
