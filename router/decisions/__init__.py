"""Decisions on record: what each was made from, written down; and made again, from that or under another configuration.

Knows the recorder's name; `record` is the format, `shape` what is kept of a prompt, `trace` one request's decisions,
`replay` makes them again. Refuses to be imported by anything that decides.
"""

from router.decisions.recorder import DecisionRecorder

__all__ = ["DecisionRecorder"]
