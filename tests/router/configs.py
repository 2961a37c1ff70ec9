"""A small catalog and a routes file for the tests of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from router.config import Config
from router.load import load

CATALOG = """
providers:
  acme:
    base_url: https://api.acme.test/v1
    api_key: "${ACME_KEY}"
    limits: {requests_per_minute: 60}
    params: {temperature: {range: [0, 2]}, top_k: topK, seed: null}
    errors: [{code: boom, is: overloaded}]
  jobs:
    protocol: tasks
    base_url: https://api.jobs.test/v1/
    api_key: "${JOBS_KEY}"
models:
  small:
    sampling: {thinking: {temperature: 0.6}}
    deployments:
      - {provider: acme, model: org/small, context: 1000, max_output: 500, price: {input: 1, output: 2}, input: [text]}
      - {provider: jobs, model: "org:small@1", params: {top_k: settings.topK}}
  large:
    deployments:
      - {provider: acme, model: org/large}
"""
KEYS = {"ACME_KEY": "sk-acme", "JOBS_KEY": "sk-jobs"}


class Files:
    """Routes files in a folder of their own, over a small catalog."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = folder / "catalog.yaml"
        self.catalog.write_text(CATALOG)

    def load(self, text: str | Mapping[str, Any] | None = None, environ: Mapping[str, str] = KEYS) -> Config:
        if isinstance(text, str):
            path = self.folder / "routes.yaml"
            path.write_text(dedent(text))
            return load(path, environ=environ, catalog=self.catalog)
        return load(text, environ=environ, catalog=self.catalog)


ROUTES = """
    routes:
      chat:
        deployments:
          - jobs/small
          - {deployment: acme/small, weight: 3, price: {output: $0.50}, limits: {concurrency: 4}}
          - {deployment: acme/large, priority: 2}
        select: weighted
        fidelity: {default: strict, seed: best_effort}
        policy: patient
        needs: [tools, json_schema]
      inline: {deployments: [acme/large], fidelity: best_effort, policy: {deadline: 1h}}
      plain: {deployments: [{deployment: acme/small, weight: 0}, acme/large]}
    policies:
      patient:
        attempts: 3
        attempts_per_deployment: 1
        order: here_first
        backoff: {initial: 250ms, max: 2s}
        deadline: 120s
        timeouts: {connect: 1s, headers: 30s, first_token: 2m, idle: null}
        circuit: {failures: 5, cooldown: 1s, max_cooldown: 1m}
        on_interruption: restart
      default: {attempts: 2}
    gateway: {api_keys: ["${ACME_KEY}"], max_body: 1MB, host: "::1", port: 8080}
"""

DESIGN = """
providers:
  mixlayer: {api_key: "${MIXLAYER_API_KEY}"}
  empiriolabs: {api_key: "${EMPIRIOLABS_API_KEY}", limits: {requests_per_minute: 50, tokens_per_minute: 2000000, concurrency: 20}}
  my-vllm:  {protocol: chat_completions, base_url: "http://localhost:8000/v1", params: {reasoning_effort: {to: reasoning_effort, levels: LEVELS}}}
models:
  my-model: {deployments: [{provider: my-vllm, model: org/my-model, context: 131072}]}
routes:
  chat:
    deployments:
      - mixlayer/qwen3.5-27b
      - {deployment: runware/qwen3.5-27b, weight: 3}
      - {deployment: aiml/qwen3.6-35b-a3b, priority: 2}
    select: priority
    fidelity: declared
    policy: patient
    needs: [tools, json_schema]
policies:
  patient:
    attempts: 4
    attempts_per_deployment: 2
    order: elsewhere_first
    backoff: {initial: 500ms, max: 8s}
    deadline: 120s
    timeouts: {connect: 5s, headers: 30s, first_token: 60s, idle: 60s}
    circuit: {failures: 3, cooldown: 2s, max_cooldown: 15s}
    on_interruption: recover
gateway:
  api_keys: ["${GATEWAY_KEY}"]
  max_body: 32MB
"""
