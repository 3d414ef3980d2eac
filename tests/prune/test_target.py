"""The grammar of targets."""

from __future__ import annotations

import pytest

from edgecnn.errors import UsageError
from edgecnn.prune.target import Target


def test_a_target_is_a_kind_and_a_share() -> None:
    assert Target.parse("macs:0.5") == Target("macs", 0.5)
    assert str(Target.parse("latency:0.70")) == "latency:0.7"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("macs", "target 'macs' says not how much (valid: macs:0.5, bytes:0.5, latency:0.5)"),
        ("mac:0.5", "unknown target 'mac'; did you mean 'macs'?"),
        ("macs:half", "target 'macs:half': 'half' is no number"),
        ("macs:0", "a share is above 0 and below 1"),
        ("macs:1", "a share is above 0 and below 1"),
        ("macs:nan", "a share is above 0 and below 1"),
        ("macs:-0.5", "a share is above 0 and below 1"),
    ],
)
def test_what_is_no_target_is_refused(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        Target.parse(text)
    assert part in str(caught.value)
