"""Refusal codes become reason codes that PUBACK allows, and CONNECT reasons become return codes."""

from __future__ import annotations

import pytest

from althing.gateway.ingest.mqtt.reasons import Reason, connect_return_code
from althing.gateway.ingest.mqtt.refusals import reason_of


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("payload.not_senml", Reason.PAYLOAD_FORMAT_INVALID),
        ("cose.bad_signature", Reason.PAYLOAD_FORMAT_INVALID),
        ("auth.wrong_device", Reason.NOT_AUTHORISED),
        ("device.suspended", Reason.NOT_AUTHORISED),
        ("guard.suspended", Reason.NOT_AUTHORISED),
        ("guard.rate", Reason.QUOTA_EXCEEDED),
        ("message.too_large", Reason.QUOTA_EXCEEDED),
        ("mqtt.topic_name_invalid", Reason.TOPIC_NAME_INVALID),
        ("stream.unknown", Reason.IMPLEMENTATION_SPECIFIC),
        ("", Reason.IMPLEMENTATION_SPECIFIC),
    ],
)
def test_reason_of(code, reason):
    assert reason_of(code) is reason
    assert reason in (0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)


def test_return_codes_of_older_versions():
    assert {connect_return_code(reason) for reason in Reason} == {0, 1, 2, 3, 4, 5}
    assert connect_return_code(Reason.BAD_USER_NAME_OR_PASSWORD) == 4
    assert connect_return_code(Reason.SERVER_BUSY) == 3
