"""Turns what a request contains into as few scan calls as possible and their answers into one verdict."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from bottle_addon.cache import VerdictCache
from bottle_addon.extract import Extract, Field
from bottle_addon.gate import Patience
from bottle_addon.refusal import Deny, Unavailable
from bottle_addon.scan import Finding, ScanClient
from bottle_addon.settings import Rules

SMALL_CHARS = 512
BATCH_CHARS = 16 << 10
CHUNK_CHARS = 128 << 10
CHUNK_OVERLAP = 1 << 10
EDGE_CHARS = 128
THREAD_BYTES = 256 << 10
_IDENTIFIER = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[\d.:TZ+-]+|true|false|null")
_SOFT_URL_RULES = frozenset({"URL-dlp", "URL-core_dlp", "URL-entropy", "URL-subdomain_entropy"})
_DLP_HINT = "the request carries something that looks like a secret; remove it, or set egress.dlp_action to warn"
_GATE_HINT = "the gate refuses this destination; see the rule and egress.allowlist of the bottle"


def is_dlp(rule_id: str) -> bool:
    """Whether a finding is about content; allowlist, SSRF and rate findings are never softened."""
    return rule_id.startswith("DLP-") or rule_id in _SOFT_URL_RULES


@dataclass
class Verdict:
    """Allowed; `warned` holds the findings that `dlp_action: warn` let pass."""

    warned: list[str] = field(default_factory=list)
    scan_id: str = ""


@dataclass(frozen=True)
class _Question:
    """What all scan calls of one request have in common."""

    flow_id: str
    rules: Rules
    verdict: Verdict
    patience: Patience


def _chunks(text: str) -> Iterator[str]:
    step = CHUNK_CHARS - CHUNK_OVERLAP
    for start in range(0, max(len(text) - CHUNK_OVERLAP, 1), step):
        yield text[start : start + CHUNK_CHARS]


def _edges(text: str) -> str:
    """What a value contributes to the joined text: all of it when short, else its two ends."""
    if len(text) <= 2 * EDGE_CHARS:
        return text
    return text[:EDGE_CHARS] + "\n" + text[-EDGE_CHARS:]


class Judge:
    """Asks for verdicts under the rules in force."""

    def __init__(self, client: ScanClient, cache: VerdictCache) -> None:
        self._client = client
        self.cache = cache

    async def judge(
        self, flow_id: str, url: str | None, extract: Extract, rules: Rules, patience: Patience
    ) -> Verdict:
        """Raises `Deny` or `Unavailable`; returning means every call said allow (or was softened)."""
        verdict = Verdict()
        size = sum(len(f.text) for f in extract.fields) + sum(map(len, extract.blobs))
        patience.held_bytes += size
        if size > THREAD_BYTES:
            await asyncio.to_thread(self._search_exact, url, extract, rules, verdict)
        else:
            self._search_exact(url, extract, rules, verdict)
        try:
            async with asyncio.timeout(rules.policy.limits.verdict_deadline_ms / 1000 + patience.bound_s):
                await self._client.settle(patience)
                await self._ask_all(_Question(flow_id, rules, verdict, patience), url, extract.fields)
        except TimeoutError:
            raise Unavailable("the verdict took too long") from None
        return verdict

    def _search_exact(self, url: str | None, extract: Extract, rules: Rules, verdict: Verdict) -> None:
        plain_url = (url or "").encode("utf-8", "surrogateescape")
        once = unquote_to_bytes(plain_url)
        urls = (plain_url, once, unquote_to_bytes(once))
        values = "".join(f.text for f in extract.fields if f.is_value and len(f.text) <= SMALL_CHARS)
        texts = [f.text.encode("utf-8", "surrogatepass") for f in extract.fields]
        for data in (*urls, *texts, values.encode("utf-8", "surrogatepass"), *extract.blobs):
            name = rules.exact.find(data)
            if name is not None:
                self._settle(Finding((f"DLP-{name}",), ""), rules, verdict)

    async def _ask_all(self, question: _Question, url: str | None, fields: list[Field]) -> None:
        fresh, keys = self._unknown(fields, question.rules.policy.generation)
        jobs = [self._ask_batch(question, batch) for batch in self._batches(fresh)]
        jobs += [
            self._ask_text(question, chunk)
            for text in fresh
            if len(text) > SMALL_CHARS
            for chunk in _chunks(text)
        ]
        if url is not None:
            jobs.append(self._ask(question, "url", url))
        joined = self._joined(fields, set(fresh))
        if joined:
            jobs.append(self._ask_text(question, joined))
        await _all(jobs)
        if not question.verdict.warned:
            for key in keys:
                self.cache.add(key)

    def _unknown(self, fields: list[Field], generation: int) -> tuple[list[str], list[bytes]]:
        fresh, keys = [], []
        for text in dict.fromkeys(f.text for f in fields):
            key = VerdictCache.key(generation, text)
            if not self.cache.is_clean(key):
                fresh.append(text)
                keys.append(key)
        return fresh, keys

    @staticmethod
    def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for text in texts:
            if len(text) > SMALL_CHARS:
                continue
            if size + len(text) > BATCH_CHARS and batch:
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += len(text) + 1
        if batch:
            yield batch

    @staticmethod
    def _joined(fields: list[Field], fresh: set[str]) -> str:
        """New values and the ends of their neighbours without separators: finds a secret split over fields."""
        values = [f.text for f in fields if f.is_value and not _IDENTIFIER.fullmatch(f.text)]
        is_new = [text in fresh for text in values]
        if len(values) < 2 or not any(is_new):
            return ""
        parts = []
        for index, text in enumerate(values):
            if any(is_new[max(index - 1, 0) : index + 2]):
                parts.append(_edges(text))
        return "".join(parts) if len(parts) > 1 else ""

    async def _ask_batch(self, question: _Question, batch: list[str]) -> None:
        """Small texts share a call; a finding is believed only for a text on its own."""
        if len(batch) > 1:
            finding = await self._client.scan("dlp", "\n".join(batch), question.flow_id, question.patience)
            if finding.rule_ids is None:
                return
        for text in batch:
            await self._ask_text(question, text)

    async def _ask_text(self, question: _Question, text: str) -> None:
        if text.strip():
            await self._ask(question, "dlp", text)

    async def _ask(self, question: _Question, kind: str, value: str) -> None:
        clean = value.encode("utf-8", "surrogateescape" if kind == "url" else "replace").decode("utf-8", "replace")
        finding = await self._client.scan(kind, clean, question.flow_id, question.patience)
        if kind == "url":
            question.verdict.scan_id = finding.scan_id
        self._settle(finding, question.rules, question.verdict)

    @staticmethod
    def _settle(finding: Finding, rules: Rules, verdict: Verdict) -> None:
        if finding.rule_ids is None:
            return
        hard = [rule for rule in finding.rule_ids if not is_dlp(rule)]
        if rules.policy.warn_only and not hard:
            verdict.warned += [rule for rule in finding.rule_ids if rule not in verdict.warned]
            verdict.scan_id = finding.scan_id or verdict.scan_id
            return
        hint = _GATE_HINT if hard else _DLP_HINT
        raise Deny(list(finding.rule_ids), hint, finding.scan_id)


async def _all(jobs: list[Coroutine[Any, Any, None]]) -> None:
    """Runs the calls together; the first refusal cancels the rest."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
