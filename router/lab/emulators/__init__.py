"""The emulated providers, by the names that the catalogue gives them."""

from __future__ import annotations

from collections.abc import Mapping

from router.lab.emulators.aiml import AIML
from router.lab.emulators.base import Emulator
from router.lab.emulators.empiriolabs import EmpirioLabs
from router.lab.emulators.mixlayer import Mixlayer
from router.lab.emulators.openai_compatible import OpenAICompatible
from router.lab.emulators.record import Headers, Invoice, Received
from router.lab.emulators.runware import Runware
from router.lab.emulators.runware_render import Shape
from router.lab.emulators.words import Model

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
