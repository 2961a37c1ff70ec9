"""Failover testing: emulators of the providers and the faults that they can have."""

from .answers import Answer, ToolCall
from .emulate import emulate, emulate_all
from .emulators import EMULATORS, Emulator, Received
from .faults import Fault

__all__ = ["EMULATORS", "Answer", "Emulator", "Fault", "Received", "ToolCall", "emulate", "emulate_all"]
