/** Days and clocks: Go's time.Date arithmetic in UTC and in IANA zones, in whole seconds as bigint-free numbers. */

export interface Civil {
  readonly year: number;
  /** 1 to 12 */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

const DAY = 86_400;

/** Any month and day, out of range ones carry over. */
export function toUnix(at: Civil): number {
  const date = new Date(0);
  date.setUTCFullYear(at.year, at.month - 1, at.day);
  return Math.floor(date.getTime() / 1000) + at.hour * 3600 + at.minute * 60 + at.second;
}

export function fromUnix(seconds: number): Civil {
  const date = new Date(Math.floor(seconds / DAY) * DAY * 1000);
  const rest = ((seconds % DAY) + DAY) % DAY;
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: Math.floor(rest / 3600),
    minute: Math.floor((rest % 3600) / 60),
    second: rest % 60,
  };
}

/** 0 is Sunday. */
export function weekday(seconds: number): number {
  return (((Math.floor(seconds / DAY) + 4) % 7) + 7) % 7;
}

export function yearDay(at: Civil): number {
  return (
    Math.round(
      (toUnix({ ...at, hour: 0, minute: 0, second: 0 }) -
        toUnix({ year: at.year, month: 1, day: 1, hour: 0, minute: 0, second: 0 })) /
        DAY,
    ) + 1
  );
}

export function daysIn(year: number, month: number): number {
  return fromUnix(toUnix({ year, month: month + 1, day: 0, hour: 0, minute: 0, second: 0 })).day;
}

export interface Zone {
  readonly name: string;
  /** Seconds east of UTC at an instant. */
  offset(unixSeconds: number): number;
}

export const UTC: Zone = { name: "UTC", offset: () => 0 };

const zones = new Map<string, Zone | undefined>();

/** Undefined for a name that there is not, or not in this spelling: names are files to Go, and case matters. */
export function findZone(name: string): Zone | undefined {
  if (name === "" || name === "UTC") return UTC;
  if (name === "Local") throw new RangeError("The time zone Local depends on the machine");
  if (!zones.has(name)) {
    if (zones.size > 1000) zones.clear();
    zones.set(name, openZone(name));
  }
  return zones.get(name);
}

function openZone(name: string): Zone | undefined {
  // Offsets such as "+01:00" are zones to Intl and not to Go.
  if (!/^[A-Z][A-Za-z0-9_+-]*(?:\/[A-Z][A-Za-z0-9_+-]*)*$/.test(name)) return undefined;
  try {
    const format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    const resolved = format.resolvedOptions().timeZone;
    if (resolved !== name && resolved.toLowerCase() === name.toLowerCase()) return undefined;
    return { name, offset: (seconds) => offsetBy(format, seconds) };
  } catch {
    return undefined;
  }
}

/** Builds of the zone database keep or merge what zones did before 1970; Go's and ICU's differ there. */
function offsetBy(format: Intl.DateTimeFormat, seconds: number): number {
  if (seconds < 0) throw new RangeError("Time zones before 1970 are not supported");
  const parts = new Map(format.formatToParts(seconds * 1000).map((part) => [part.type, Number(part.value)]));
  const local = toUnix({
    year: parts.get("year")!,
    month: parts.get("month")!,
    day: parts.get("day")!,
    hour: parts.get("hour")!,
    minute: parts.get("minute")!,
    second: parts.get("second")!,
  });
  return local - seconds;
}

/** The instant of a local time; where a clock change makes it ambiguous or skips it, as Go chooses. */
export function localToUnix(at: Civil, zone: Zone): number {
  const local = toUnix(at);
  const offset = zone.offset(local);
  if (offset === 0) return local;
  return local - zone.offset(local - offset);
}
