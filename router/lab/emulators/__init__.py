"""The emulated providers, by the names that the catalogue gives them."""

from __future__ import annotations

from collections.abc import Mapping

from .aiml import AIML
from .base import Emulator
from .empiriolabs import EmpirioLabs
from .mixlayer import Mixlayer
from .openai_compatible import OpenAICompatible
from .record import Headers, Invoice, Received
from .runware import Runware
from .runware_render import Shape
from .words import Model

# "openai" stands for any OpenAI-compatible server; the other four are the documented providers.
EMULATORS: Mapping[str, type[Emulator]] = {
    kind.name: kind for kind in (Mixlayer, Runware, EmpirioLabs, AIML, OpenAICompatible)
}
PROVIDERS = ("mixlayer", "runware", "empiriolabs", "aiml")

__all__ = [
    "AIML",
    "EMULATORS",
    "PROVIDERS",
    "EmpirioLabs",
    "Emulator",
    "Headers",
    "Invoice",
    "Mixlayer",
    "Model",
    "OpenAICompatible",
    "Received",
    "Runware",
    "Shape",
]
