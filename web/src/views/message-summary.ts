/** What a transaction does, in one line. */

/** Each type once, with how often: a founding transaction carries dozens of messages. */
export function messageSummary(types: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const type of types) counts.set(type, (counts.get(type) ?? 0) + 1);
  return Array.from(counts, ([type, times]) => (times > 1 ? `${type} ×${times}` : type)).join(", ");
}
