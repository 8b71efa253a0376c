"""The unit names of the IANA registry "Sensor Measurement Lists (SenML)": SenML Units and Secondary Units.

Sources: RFC 8428 §12.1, RFC 8798 and later registrations. Names only: units are compared, never converted.
A name missing here is a flag on the reading and never a refusal, so a newer registry cannot lose data.
"""

from __future__ import annotations

from typing import Final

__all__ = ["KNOWN", "PRIMARY", "SECONDARY"]

_PRIMARY: Final = """
    m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s l/s W/m2
    cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m B VA VAs var vars J/m kg/m3
    deg NTU"""
_SECONDARY: Final = """
    ms min h MHz kW kVA kvar Ah Wh kWh varh kvarh kVAh Wh/km KiB GB Mbit/s B/s MB/s mV mA dBm ug/m3 mm/h m/h ppm /100
    /1000 hPa mm cm km km/h ppb ppt VAh mg/l ug/l g/l"""
PRIMARY: Final = frozenset(_PRIMARY.split())
SECONDARY: Final = frozenset(_SECONDARY.split())
KNOWN: Final = PRIMARY | SECONDARY
