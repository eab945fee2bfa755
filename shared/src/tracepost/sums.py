"""Adds up the metrics of several processes, those that have ended among them; of moments the latest counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import add

from prometheus_client import REGISTRY, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from tracepost import metrics

# One sample of a process: its metric, its own name, its labels, its value.
Sample = tuple[str, str, dict[str, str], float]
_Key = tuple[str, str, tuple[tuple[str, str], ...]]

_OURS = "tracepost_"
_LASTING = {"counter", "histogram"}  # what a process that has ended has counted stays counted
_ADDED = {*_LASTING, "gauge"}
_MOMENT = "_timestamp_seconds"  # so ends the name of a gauge that is one point in time, for all processes


def snapshot() -> list[Sample]:
    """What this process counts."""
    return [
        (family.name, sample.name, sample.labels, sample.value)
        for family in REGISTRY.collect()
        if family.name.startswith(_OURS) and family.type in _ADDED
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


class Sums(Collector):
    """Our own metrics and those of others, by a number for each process, as if there were but one."""

    def __init__(self, own: Sequence[Collector]) -> None:
        self._own = own
        self._told: dict[int, list[Sample]] = {}
        self._lasting: defaultdict[_Key, float] = defaultdict(float)

    def tell(self, process: int, samples: list[Sample]) -> None:
        """What a process counts now."""
        self._told[process] = samples

    def gone(self, process: int) -> None:
        """It has ended."""
        lasting = {family.name for each in self._own for family in each.collect() if family.type in _LASTING}
        for family, name, labels, value in self._told.pop(process, []):
            if family in lasting:
                self._lasting[family, name, tuple(labels.items())] += value

    def collect(self) -> Iterator[Metric]:
        """Called at each look at the metrics."""
        others = self._others()
        for family in (family for each in self._own for family in each.collect()):
            added = Metric(family.name, family.documentation, family.type)
            values = others[family.name]
            for sample in family.samples:
                key = family.name, sample.name, tuple(sample.labels.items())
                value = _together(family.name)(sample.value, values.pop(key, 0))
                added.add_sample(sample.name, sample.labels, value)
            for (_, name, labels), value in values.items():
                added.add_sample(name, dict(labels), value)
            yield added

    def _others(self) -> defaultdict[str, defaultdict[_Key, float]]:
        sums: defaultdict[str, defaultdict[_Key, float]] = defaultdict(lambda: defaultdict(float))
        for key, value in self._lasting.items():
            sums[key[0]][key] += value
        for samples in self._told.values():
            for family, name, labels, value in samples:
                key = family, name, tuple(labels.items())
                sums[family][key] = _together(family)(sums[family][key], value)
        return sums


def _together(family: str) -> Callable[[float, float], float]:
    return max if family.endswith(_MOMENT) else add


@contextmanager
def in_place_of_our_own() -> Iterator[Sums]:
    """While the block lasts, whoever looks at our metrics sees the sums."""
    own = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    sums = Sums(own)
    for each in own:
        REGISTRY.unregister(each)
    REGISTRY.register(sums)
    try:
        yield sums
    finally:
        REGISTRY.unregister(sums)
        for each in own:
            REGISTRY.register(each)
