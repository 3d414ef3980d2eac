"""The grammar of --fail-on: what it takes, what it makes of it, and what it says to the rest."""

from __future__ import annotations

import pytest

from edgecnn.errors import UsageError
from edgecnn.measure.limits import Limit, parse_limits


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("latency:p50:5%", Limit("latency", "p50", 5, "%")),
        ("latency:7.5 %", Limit("latency", "p50", 7.5, "%")),
        ("latency:p99:.5%", Limit("latency", "p99", 0.5, "%")),
        ("accuracy:0.5pp", Limit("accuracy", None, 0.5, "pp")),
        ("bytes:1kB", Limit("bytes", None, 1, "kB")),
        ("bytes:0%", Limit("bytes", None, 0, "%")),
        ("memory:2MB", Limit("memory", None, 2, "MB")),
        ("instructions:3%", Limit("instructions", None, 3, "%")),
        ("cold_start:10%", Limit("cold_start", None, 10, "%")),
        ("energy:10%", Limit("energy", None, 10, "%")),
    ],
)
def test_a_limit_is_read(text: str, limit: Limit) -> None:
    assert parse_limits(text) == (limit,)


def test_several_limits_keep_their_order() -> None:
    limits = parse_limits("bytes:1%, latency:min:3%,latency:p50:5%")
    assert [limit.name for limit in limits] == ["bytes", "latency min", "latency p50"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no limit"),
        ("latancy:5%", "unknown metric in --fail-on 'latancy'; did you mean 'latency'?"),
        ("latency:p95:5%", "unknown statistic in --fail-on 'latency:p95:5%' 'p95'; did you mean"),
        ("latency", r"'latency' is no limit on latency \(valid: latency:\[p50\|p90\|p99\|mean\|min\]:NUMBER follow"),
        ("latency:p50", "is no limit on latency"),
        ("latency:5us", "NUMBER followed by %"),
        ("accuracy:0.5%", r"'accuracy:0.5%' is no limit on accuracy \(valid: accuracy:NUMBER followed by pp\)"),
        ("accuracy:mean:1pp", "is no limit on accuracy"),
        ("bytes:1", "NUMBER followed by % or B or kB or MB"),
        ("bytes:-1%", "is no limit on bytes"),
        ("bytes:1e3B", "is no limit on bytes"),
        ("bytes:nan%", "is no limit on bytes"),
        ("bytes:1%,bytes:1kB", "limits bytes twice"),
    ],
)  # fmt: skip
def test_what_is_no_limit_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_limits(text)


def test_worse_is_more_except_for_accuracy() -> None:
    percent, points, kilobytes = parse_limits("latency:5%,accuracy:0.5pp,bytes:1kB")
    assert percent.worse(200.0, 210.0) == pytest.approx(5)
    assert points.worse(0.9, 0.895) == pytest.approx(0.5)
    assert kilobytes.worse(10_000, 8_500) == -1.5
    assert kilobytes.exceeded(10_000, 11_001) and not kilobytes.exceeded(10_000, 11_000)


def test_a_change_of_just_the_limit_does_not_exceed_it() -> None:
    (limit,) = parse_limits("accuracy:0.5pp")
    assert 100 * (0.735 - 0.730) > 0.5  # as floats go
    assert not limit.exceeded(0.735, 0.730)
