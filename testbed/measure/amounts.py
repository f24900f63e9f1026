"""Numbers with their units, as people write them."""

from __future__ import annotations

_SCALES = {"s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")), "bit/s": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))}


def amount(value: float, unit: str) -> str:
    """A number with its unit as people write it: three digits, ms for thousandths of a second."""
    scales = _SCALES.get(unit)
    if scales is None:
        text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
        return f"{text} {unit}".strip()
    factor, name = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1] if value else scales[0])
    scaled = value / factor
    return f"{scaled:.0f} {name}" if abs(scaled) >= 100 else f"{scaled:.3g} {name}"
