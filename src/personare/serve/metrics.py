"""Figures for Prometheus: what waits, what is made, how long requests take. No names, no texts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from personare.serve.house import House

log = logging.getLogger("personare.serve.requests")
_LIVE = {
    "sessions": "live sessions",
    "cores_used": "cores that live sessions take, as measured",
    "cores": "cores that they may take",
    "nodes": "machines that draw them",
    "workers_lost": "processes that open sessions have lost",
}
_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Figures:
    """Counted in this process; `text` adds what the house knows at the moment."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "personare_requests",
            "requests by route and status",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "personare_request_seconds",
            "from the head of a request to the head of its answer",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def follow(self, house: House) -> None:
        """Tell of a house as well."""
        self.registry.register(_OfHouse(house))

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)


class _OfHouse(Collector):
    def __init__(self, house: House) -> None:
        self._house = house

    def collect(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily("personare_jobs", "jobs that are kept, by status", labels=["status"])
        for status, count in self._house.jobs.counts().items():
            jobs.add_metric([status], count)
        yield jobs
        crew = self._house.crew
        yield GaugeMetricFamily("personare_workers", "processes that make clips", crew.workers)
        yield GaugeMetricFamily("personare_workers_busy", "of them, at a job", crew.busy)
        for name, value in self._house.live.figures().items():
            yield GaugeMetricFamily(f"personare_live_{name}", _LIVE[name], value)


class Counted:
    """Counts requests by route, and logs a line for each: method, route, status, milliseconds.
    Routes, not paths: ids, names and queries are nobody's business in a log.
    """

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self.app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(scope, message["status"], time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, noted)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD", "PATCH") else "other"
        self._figures.requests.labels(method, route, status).inc()
        self._figures.seconds.labels(route).observe(seconds)
        log.info("%s %s %d %.0f ms", method, route, status, seconds * 1000)
