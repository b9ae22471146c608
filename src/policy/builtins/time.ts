/** Time as an argument: what `time.*` computes from a time it is given. The current time is `input.time`. */
import { type Civil, findZone, fromUnix, localToUnix, toUnix, UTC, weekday, type Zone } from "../go/civil.ts";
import { toInteger } from "../go/decimal.ts";
import { parseDuration } from "../go/duration.ts";
import { formatTime, type Instant, NAMED_LAYOUTS, parseTime } from "../go/time-layout.ts";
import { RegoNumber, type RegoValue } from "../rego-value.ts";
import { asArray, asInt, asNumber, asString, define, fail, type HostBuiltin, int } from "./define.ts";

const BILLION = 1_000_000_000n;
const NS_MIN = -(2n ** 63n);
const NS_MAX = 2n ** 63n - 1n;

interface ZonedTime extends Instant {
  readonly zone: Zone;
  readonly layout: string;
}

/** A number, or [number, zone?, layout?]. */
function zonedTime(value: RegoValue): ZonedTime {
  if (value instanceof RegoNumber) return { ...instant(value), zone: UTC, layout: "" };
  const parts = asArray(value);
  const at = instant(asNumber(parts[0]));
  const zone = parts.length > 1 ? findZone(asString(parts[1])) : UTC;
  if (zone === undefined) fail("unknown time zone");
  return { ...at, zone, layout: parts.length > 2 ? asString(parts[2]) : "" };
}

function instant(value: RegoNumber): Instant {
  const ns = toInteger(value.text);
  if (ns === undefined || ns < NS_MIN || ns > NS_MAX) fail("timestamp too big");
  const rest = ((ns % BILLION) + BILLION) % BILLION;
  return { seconds: Number((ns - rest) / BILLION), nanosecond: Number(rest) };
}

function nanoseconds(at: Instant): RegoValue {
  const ns = BigInt(at.seconds) * BILLION + BigInt(at.nanosecond);
  return ns < NS_MIN || ns > NS_MAX ? fail("time outside of valid range") : int(ns);
}

function local(at: ZonedTime): Civil {
  return fromUnix(at.seconds + at.zone.offset(at.seconds));
}

function format(value: RegoValue): RegoValue {
  const at = zonedTime(value);
  const layout = at.layout === "" ? NAMED_LAYOUTS["RFC3339Nano"]! : (NAMED_LAYOUTS[at.layout] ?? at.layout);
  const offset = at.zone.offset(at.seconds);
  const abbreviation = at.zone === UTC ? "UTC" : undefined;
  return formatTime({ civil: local(at), nanosecond: at.nanosecond, offset, abbreviation }, layout);
}

const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

function addDate(value: RegoValue, steps: { years: RegoValue; months: RegoValue; days: RegoValue }): RegoValue {
  const at = zonedTime(value);
  const civil = local(at);
  const [years, months, days] = [asInt(steps.years), asInt(steps.months), asInt(steps.days)];
  if ([years, months, days].some((step) => Math.abs(step) > 1_000_000)) fail("time outside of valid range");
  const moved = { ...civil, year: civil.year + years, month: civil.month + months, day: civil.day + days };
  const seconds = localToUnix(moved, at.zone);
  return Number.isFinite(seconds)
    ? nanoseconds({ seconds, nanosecond: at.nanosecond })
    : fail("time outside of valid range");
}

function diff(a: RegoValue, b: RegoValue): RegoValue {
  const first = zonedTime(a);
  const second: ZonedTime = { ...zonedTime(b), zone: first.zone };
  const isAfter =
    first.seconds > second.seconds || (first.seconds === second.seconds && first.nanosecond > second.nanosecond);
  const [from, to] = isAfter ? [local(second), local(first)] : [local(first), local(second)];
  return borrow(from, to).map(int);
}

/** Field by field, borrowing from the next larger one; months have the days of the earlier time's month. */
function borrow(from: Civil, to: Civil): number[] {
  let [year, month, day] = [to.year - from.year, to.month - from.month, to.day - from.day];
  let [hour, minute, second] = [to.hour - from.hour, to.minute - from.minute, to.second - from.second];
  if (second < 0) [second, minute] = [second + 60, minute - 1];
  if (minute < 0) [minute, hour] = [minute + 60, hour - 1];
  if (hour < 0) [hour, day] = [hour + 24, day - 1];
  if (day < 0) {
    const overflow = fromUnix(
      toUnix({ year: from.year, month: from.month, day: 32, hour: 0, minute: 0, second: 0 }),
    ).day;
    [day, month] = [day + 32 - overflow, month - 1];
  }
  if (month < 0) [month, year] = [month + 12, year - 1];
  return [year, month, day, hour, minute, second];
}

function parse(layout: string, text: string): RegoValue {
  const at = parseTime(NAMED_LAYOUTS[layout] ?? layout, text);
  return at === undefined ? fail("not of the layout") : nanoseconds(at);
}

export const TIME: readonly HostBuiltin[] = [
  define("time.format", 1, (a) => format(a!)),
  define("time.date", 1, (a) => dateOf(local(zonedTime(a!)))),
  define("time.clock", 1, (a) => clockOf(local(zonedTime(a!)))),
  define("time.weekday", 1, (a) => WEEKDAYS[weekday(toUnix(local(zonedTime(a!))))]!),
  define("time.add_date", 4, (a, years, months, days) => addDate(a!, { years: years!, months: months!, days: days! })),
  define("time.diff", 2, (a, b) => diff(a!, b!)),
  define("time.parse_ns", 2, (layout, text) => parse(asString(layout), asString(text))),
  define("time.parse_rfc3339_ns", 1, (text) => parse("RFC3339", asString(text))),
  define("time.parse_duration_ns", 1, (text) => int(parseDuration(asString(text)) ?? fail("not a duration"))),
];

function dateOf(at: Civil): RegoValue {
  return [int(at.year), int(at.month), int(at.day)];
}

function clockOf(at: Civil): RegoValue {
  return [int(at.hour), int(at.minute), int(at.second)];
}
