"""What several processes count is one sum, and what one has counted that has ended stays counted."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tracepost import metrics
from tracepost.sums import Sample, Sums, in_place_of_our_own, snapshot

ALONE = CollectorRegistry()
OPENS = Counter("tracepost_x", "x", ["verdict"], registry=ALONE)
BYTES = Gauge("tracepost_y", "y", registry=ALONE)
SECONDS = Histogram("tracepost_z", "z", buckets=(1, 2), registry=ALONE)


def samples(opens: float, held: float) -> list[Sample]:
    return [
        ("tracepost_x", "tracepost_x_total", {"verdict": "person"}, opens),
        ("tracepost_y", "tracepost_y", {}, held),
        *(("tracepost_z", "tracepost_z_bucket", {"le": le}, opens) for le in ("1.0", "2.0", "+Inf")),
        ("tracepost_z", "tracepost_z_count", {}, opens),
        ("tracepost_z", "tracepost_z_sum", {}, opens / 2),
    ]


def shown(sums: Sums) -> dict[str, float]:
    known = CollectorRegistry()
    known.register(sums)
    families = text_string_to_metric_families(generate_latest(known).decode())
    return {f"{each.name}{each.labels or ''}": each.value for family in families for each in family.samples}


def test_what_others_count_is_added_to_our_own() -> None:
    sums = Sums([OPENS, BYTES, SECONDS])
    OPENS.labels("bot").inc(7)
    BYTES.set(3)
    SECONDS.observe(0.5)
    sums.tell(1, samples(10, 5))
    sums.tell(2, samples(1, 1))
    sums.tell(1, samples(20, 2))
    found = shown(sums)
    assert found["tracepost_x_total{'verdict': 'person'}"] == 21
    assert found["tracepost_x_total{'verdict': 'bot'}"] == 7
    assert found["tracepost_y"] == 6
    assert found["tracepost_z_count"] == found["tracepost_z_bucket{'le': '1.0'}"] == 22
    assert found["tracepost_z_sum"] == 11
    sums.gone(1)
    sums.gone(3)
    found = shown(sums)
    assert found["tracepost_x_total{'verdict': 'person'}"] == 21
    assert found["tracepost_y"] == 4
    assert found["tracepost_z_count"] == 22


def test_of_moments_the_latest_counts() -> None:
    """Each worker tells since when the same key signs: added up, it would never seem old."""
    began = Gauge("tracepost_w_timestamp_seconds", "w", registry=None)
    sums = Sums([began])
    began.set(1_000)
    sums.tell(1, [("tracepost_w_timestamp_seconds", "tracepost_w_timestamp_seconds", {}, 1_000)])
    sums.tell(2, [("tracepost_w_timestamp_seconds", "tracepost_w_timestamp_seconds", {}, 1_200)])
    assert shown(sums) == {"tracepost_w_timestamp_seconds": 1_200}


def test_the_sums_stand_in_the_place_of_our_own_metrics_for_a_while() -> None:
    before = len(snapshot())
    spooled = metrics.OPENS_SPOOLED._value.get()
    with in_place_of_our_own() as sums:
        sums.tell(1, [("tracepost_pixel_opens_spooled", "tracepost_pixel_opens_spooled_total", {}, 5)])
        found = {name: value for _, name, labels, value in snapshot() if not labels}
        assert found["tracepost_pixel_opens_spooled_total"] == spooled + 5
    assert len(snapshot()) == before
