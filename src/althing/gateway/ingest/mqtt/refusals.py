"""From a refusal's stable code to the reason code that an MQTT 5 client is told (§3.4.2.1)."""

from __future__ import annotations

from althing.gateway.ingest.mqtt.reasons import Reason

__all__ = ["reason_of"]

_BY_CODE = {
    "mqtt.topic_name_invalid": Reason.TOPIC_NAME_INVALID,
    "mqtt.not_authorised": Reason.NOT_AUTHORISED,
    "mqtt.quota_exceeded": Reason.QUOTA_EXCEEDED,
}
_BY_AREA = {
    "auth": Reason.NOT_AUTHORISED,
    "device": Reason.NOT_AUTHORISED,
    "devices": Reason.NOT_AUTHORISED,
    "access": Reason.NOT_AUTHORISED,
    "identity": Reason.NOT_AUTHORISED,
    "payload": Reason.PAYLOAD_FORMAT_INVALID,
    "cbor": Reason.PAYLOAD_FORMAT_INVALID,
    "cose": Reason.PAYLOAD_FORMAT_INVALID,
    "senml": Reason.PAYLOAD_FORMAT_INVALID,
    "quota": Reason.QUOTA_EXCEEDED,
    "rate": Reason.QUOTA_EXCEEDED,
}
_BY_LAST_WORD = {
    "rate": Reason.QUOTA_EXCEEDED,
    "quota": Reason.QUOTA_EXCEEDED,
    "too_large": Reason.QUOTA_EXCEEDED,
    "full": Reason.QUOTA_EXCEEDED,
    "unauthorised": Reason.NOT_AUTHORISED,
    "not_authorised": Reason.NOT_AUTHORISED,
    "suspended": Reason.NOT_AUTHORISED,
    "wrong_device": Reason.NOT_AUTHORISED,
}


def reason_of(code: str) -> Reason:
    """The most telling reason that PUBACK and PUBREC allow; implementation specific for what they cannot say."""
    exact = _BY_CODE.get(code)
    if exact is not None:
        return exact
    parts = code.split(".")
    last = _BY_LAST_WORD.get(parts[-1]) or _BY_LAST_WORD.get(parts[-1].rsplit("_", 1)[-1])
    return last or _BY_AREA.get(parts[0]) or Reason.IMPLEMENTATION_SPECIFIC
