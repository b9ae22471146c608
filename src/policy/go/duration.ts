/** Go's time.ParseDuration, with OPA's days, weeks and years on top. */

const UNITS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  "\u00b5s": 1_000n,
  "\u03bcs": 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const LONG_UNITS: Readonly<Record<string, number>> = { d: 24, w: 168, y: 8760 };
const LIMIT = 1n << 63n;
const SEGMENT = /(\d*)(\.\d*)?([^\d.]+)/y;

/** Nanoseconds; undefined where it is not a duration or does not fit 64 bits. */
export function parseDuration(text: string): bigint | undefined {
  const isNegative = text.startsWith("-");
  const rest = /^[+-]/.test(text) ? text.slice(1) : text;
  if (rest === "0" && !/[dwy]/.test(text)) return 0n;
  if (rest === "") return undefined;
  let total = 0n;
  SEGMENT.lastIndex = 0;
  for (let at = 0; at < rest.length; at = SEGMENT.lastIndex) {
    SEGMENT.lastIndex = at;
    const found = SEGMENT.exec(rest);
    const value = found === null ? undefined : segment(found[1]!, found[2] ?? "", found[3]!);
    if (value === undefined) return undefined;
    total += value;
    if (total > LIMIT) return undefined;
  }
  if (isNegative) return -total;
  return total === LIMIT ? undefined : total;
}

function segment(whole: string, fraction: string, unit: string): bigint | undefined {
  const digits = fraction.slice(1);
  if (whole === "" && digits === "") return undefined;
  const hours = LONG_UNITS[unit];
  if (hours !== undefined) return longSegment(Number(`${whole || "0"}.${digits || "0"}`) * hours);
  const factor = UNITS[unit];
  if (factor === undefined) return undefined;
  const value = BigInt(whole || "0") * factor;
  // Go sums the fraction up in a float, after cutting digits that do not fit 63 bits.
  const kept = digits.slice(0, 18);
  const part = kept === "" ? 0n : BigInt(Math.trunc(Number(kept) * (Number(factor) / 10 ** kept.length)));
  return value > LIMIT ? undefined : value + part;
}

/** Hours as a float's shortest decimal text, read again: the way OPA rewrites them. */
function longSegment(hours: number): bigint | undefined {
  const [whole, fraction] = hours
    .toFixed(20)
    .replace(/\.?0+$/, "")
    .split(".") as [string, string?];
  const shortest = Number.isInteger(hours) ? [whole] : String(hours).split(".");
  return segment(shortest[0] ?? whole, fraction === undefined ? "" : `.${shortest[1] ?? ""}`, "h");
}
