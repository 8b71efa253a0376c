/** Counts and sizes as people read them. Values of readings are never formatted: their exact text is shown. */

export function count(value: number | bigint, language: string): string {
  return new Intl.NumberFormat(language).format(value);
}

export function rate(perSecond: number, language: string): string {
  return new Intl.NumberFormat(language, { maximumSignificantDigits: perSecond >= 1000 ? 4 : 3 }).format(perSecond);
}

/** `98.7 %` of 0.987: never rounded up to all, or down to nothing. */
export function percent(share: number, language: string): string {
  const shown = share > 0.999 && share < 1 ? 0.999 : share > 0 && share < 0.001 ? 0.001 : share;
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 }).format(shown);
}

export function bytes(size: number, language: string): string {
  if (size < 1000) return `${count(size, language)} B`;
  const [value, unit] = size < 1_000_000 ? [size / 1000, "kB"] : [size / 1_000_000, "MB"];
  return `${new Intl.NumberFormat(language, { maximumSignificantDigits: 3 }).format(value)} ${unit}`;
}

/** SenML's unit codes in the form people write; others stand as they are. */
const SIGNS: Readonly<Record<string, string>> = { Cel: "°C", degF: "°F", "%RH": "% RH", "m/s2": "m/s²", m2: "m²", m3: "m³", Ohm: "Ω" };

export function unit(code: string): string {
  return SIGNS[code] ?? code;
}
