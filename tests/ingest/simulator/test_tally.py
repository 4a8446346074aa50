from ingest.simulator.tally import UNREACHABLE, Tally


def test_the_summary_tells_counts_and_latencies() -> None:
    tally = Tally()
    assert "sent 0, accepted 0, refused 0" in tally.line()
    for latency_ms in range(1, 101):
        tally.note(202, latency_ms=latency_ms)
    tally.note(503, latency_ms=1)
    tally.note(UNREACHABLE, latency_ms=5000)
    line = tally.line()
    assert "sent 102, accepted 100, refused 503 × 1, unreachable × 1" in line
    assert "p50 50.0 ms, p95 95.0 ms" in line
