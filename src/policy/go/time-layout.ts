/** Go's reference-time layouts, for printing and for reading. */
import { type Civil, daysIn, toUnix, weekday, yearDay } from "./civil.ts";

const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

export const NAMED_LAYOUTS: Readonly<Record<string, string>> = {
  ANSIC: "Mon Jan _2 15:04:05 2006",
  UnixDate: "Mon Jan _2 15:04:05 MST 2006",
  RubyDate: "Mon Jan 02 15:04:05 -0700 2006",
  RFC822: "02 Jan 06 15:04 MST",
  RFC822Z: "02 Jan 06 15:04 -0700",
  RFC850: "Monday, 02-Jan-06 15:04:05 MST",
  RFC1123: "Mon, 02 Jan 2006 15:04:05 MST",
  RFC1123Z: "Mon, 02 Jan 2006 15:04:05 -0700",
  RFC3339: "2006-01-02T15:04:05Z07:00",
  RFC3339Nano: "2006-01-02T15:04:05.999999999Z07:00",
};

/** In the order in which Go tries them at one place. */
const ELEMENT =
  /January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|01|02|03|04|05|06|002|__2|_2006|_2|15|2006|2|1|3|4|5|PM|pm|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07|[.,](?:0+|9+)(?!\d)/g;

interface Part {
  readonly kind: "text" | "element";
  readonly text: string;
}

export function splitLayout(layout: string): readonly Part[] {
  const parts: Part[] = [];
  let last = 0;
  for (const found of layout.matchAll(ELEMENT)) {
    if (found.index > last) parts.push({ kind: "text", text: layout.slice(last, found.index) });
    last = found.index + found[0].length;
    // "_2006" is an underscore before a year.
    if (found[0] === "_2006") parts.push({ kind: "text", text: "_" }, { kind: "element", text: "2006" });
    else parts.push({ kind: "element", text: found[0] });
  }
  if (last < layout.length) parts.push({ kind: "text", text: layout.slice(last) });
  return parts;
}

export interface Moment {
  readonly civil: Civil;
  readonly nanosecond: number;
  /** Seconds east of UTC. */
  readonly offset: number;
  /** What MST prints; undefined where it is not known here. */
  readonly abbreviation: string | undefined;
}

export function formatTime(moment: Moment, layout: string): string {
  return splitLayout(layout)
    .map((part) => (part.kind === "text" ? part.text : formatElement(moment, part.text)))
    .join("");
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

function formatElement(moment: Moment, element: string): string {
  const { civil } = moment;
  switch (element) {
    case "2006":
      return String(civil.year).padStart(4, "0");
    case "06":
      return two(civil.year % 100);
    case "January":
      return MONTHS[civil.month - 1]!;
    case "Jan":
      return MONTHS[civil.month - 1]!.slice(0, 3);
    case "01":
      return two(civil.month);
    case "1":
      return String(civil.month);
    case "Monday":
      return DAYS[weekday(toUnix(civil))]!;
    case "Mon":
      return DAYS[weekday(toUnix(civil))]!.slice(0, 3);
    case "02":
      return two(civil.day);
    case "_2":
      return String(civil.day).padStart(2);
    case "2":
      return String(civil.day);
    case "__2":
      return String(yearDay(civil)).padStart(3);
    case "002":
      return String(yearDay(civil)).padStart(3, "0");
    default:
      return formatClock(moment, element);
  }
}

function formatClock(moment: Moment, element: string): string {
  const { civil } = moment;
  switch (element) {
    case "15":
      return two(civil.hour);
    case "03":
      return two(civil.hour % 12 || 12);
    case "3":
      return String(civil.hour % 12 || 12);
    case "04":
      return two(civil.minute);
    case "4":
      return String(civil.minute);
    case "05":
      return two(civil.second);
    case "5":
      return String(civil.second);
    case "PM":
      return civil.hour >= 12 ? "PM" : "AM";
    case "pm":
      return civil.hour >= 12 ? "pm" : "am";
    case "MST":
      if (moment.abbreviation === undefined)
        throw new RangeError("Abbreviations of time zones other than UTC are not supported");
      return moment.abbreviation;
    default:
      return /^[.,]/.test(element) ? formatFraction(moment.nanosecond, element) : formatOffset(moment.offset, element);
  }
}

function formatFraction(nanosecond: number, element: string): string {
  const digits = String(nanosecond)
    .padStart(9, "0")
    .slice(0, element.length - 1)
    .padEnd(element.length - 1, "0");
  if (element[1] === "0") return element[0] + digits;
  const shortened = digits.replace(/0+$/, "");
  return shortened === "" ? "" : element[0] + shortened;
}

function formatOffset(offset: number, element: string): string {
  if (element.startsWith("Z") && offset === 0) return "Z";
  const seconds = Math.abs(offset);
  const minutes = Math.trunc(seconds / 60);
  const colon = element.includes(":") ? ":" : "";
  let text = (offset < 0 && minutes > 0 ? "-" : offset < 0 ? "-" : "+") + two(Math.trunc(minutes / 60));
  if (element.length > 3) text += colon + two(minutes % 60);
  if (/00:00$|0000$/.test(element) && element.length >= 7 && element !== "-07:00" && element !== "Z07:00")
    text += colon + two(seconds % 60);
  return text;
}

export interface Instant {
  /** Whole seconds since the epoch. */
  readonly seconds: number;
  readonly nanosecond: number;
}

interface Fields {
  year: number;
  month: number;
  day: number;
  yearDay: number;
  hour: number;
  minute: number;
  second: number;
  nanosecond: number;
  isPm: boolean;
  isAm: boolean;
  /** Of a numeric zone; names of zones, even with a number, shift nothing. */
  offset: number;
  /** The text says UTC or Z, which goes before any number. */
  isUtc: boolean;
}

/** Undefined where the text is not of the layout, or names a time that there is not. */
export function parseTime(layout: string, text: string): Instant | undefined {
  const reader = new TimeReader(text);
  const parts = splitLayout(layout);
  for (const [i, part] of parts.entries()) {
    const isRead = part.kind === "text" ? reader.literal(part.text) : reader.element(part.text, parts[i + 1]);
    if (!isRead) return undefined;
  }
  return reader.isDone() ? reader.instant() : undefined;
}

/** As Go reads MST: the number behind a sign is hours, below 24, however many digits it has. */
const ZONE_NAME =
  /ChST|MeST|GMT(?:[+-]0*(?:1?\d|2[0-3])(?!\d))?|[+-]0*(?:1?\d|2[0-3])(?!\d)|(?:[A-Z]{4}T|[A-Z]{3}T|WITA|[A-Z]{3})(?![A-Z])/y;

class TimeReader {
  private readonly text: string;
  private at = 0;
  private readonly fields: Fields = {
    year: 0,
    month: -1,
    day: -1,
    yearDay: -1,
    hour: 0,
    minute: 0,
    second: 0,
    nanosecond: 0,
    isPm: false,
    isAm: false,
    offset: 0,
    isUtc: false,
  };

  constructor(text: string) {
    this.text = text;
  }

  isDone(): boolean {
    return this.at === this.text.length;
  }

  /** A space in the layout stands for any number of them. */
  literal(wanted: string): boolean {
    for (let i = 0; i < wanted.length; i++) {
      if (wanted[i] === " ") {
        if (this.at < this.text.length && this.text[this.at] !== " ") return false;
        while (wanted[i + 1] === " ") i++;
        while (this.text[this.at] === " ") this.at++;
      } else if (this.text[this.at++] !== wanted[i]) return false;
    }
    return true;
  }

  element(element: string, next: Part | undefined): boolean {
    const { fields } = this;
    switch (element) {
      case "2006":
        return this.number(/\d{4}/y, 0, 9999, (value) => (fields.year = value));
      case "06":
        return this.number(/\d{2}/y, 0, 99, (value) => (fields.year = value >= 69 ? 1900 + value : 2000 + value));
      case "January":
        return this.name(MONTHS, Infinity, (i) => (fields.month = i + 1));
      case "Jan":
        return this.name(MONTHS, 3, (i) => (fields.month = i + 1));
      case "Monday":
        return this.name(DAYS, Infinity, () => 0);
      case "Mon":
        return this.name(DAYS, 3, () => 0);
      case "01":
        return this.number(/\d{2}/y, 1, 12, (value) => (fields.month = value));
      case "1":
        return this.number(/\d{1,2}/y, 1, 12, (value) => (fields.month = value));
      case "_2":
        if (this.text[this.at] === " ") this.at++;
        return this.number(/\d{1,2}/y, 0, 99, (value) => (fields.day = value));
      case "2":
        return this.number(/\d{1,2}/y, 0, 99, (value) => (fields.day = value));
      case "02":
        return this.number(/\d{2}/y, 0, 99, (value) => (fields.day = value));
      case "__2":
        for (let i = 0; i < 2 && this.text[this.at] === " "; i++) this.at++;
        return this.number(/\d{1,3}/y, 0, 999, (value) => (fields.yearDay = value));
      case "002":
        return this.number(/\d{3}/y, 0, 999, (value) => (fields.yearDay = value));
      default:
        return this.clock(element, next);
    }
  }

  private clock(element: string, next: Part | undefined): boolean {
    const { fields } = this;
    switch (element) {
      case "15":
        return this.number(/\d{1,2}/y, 0, 23, (value) => (fields.hour = value));
      case "3":
        return this.number(/\d{1,2}/y, 0, 12, (value) => (fields.hour = value));
      case "03":
        return this.number(/\d{2}/y, 0, 12, (value) => (fields.hour = value));
      case "4":
        return this.number(/\d{1,2}/y, 0, 59, (value) => (fields.minute = value));
      case "04":
        return this.number(/\d{2}/y, 0, 59, (value) => (fields.minute = value));
      case "5":
      case "05":
        return (
          this.number(element === "5" ? /\d{1,2}/y : /\d{2}/y, 0, 59, (value) => (fields.second = value)) &&
          this.implicitFraction(next)
        );
      case "PM":
      case "pm":
        return this.halfDay(element);
      case "MST":
        return this.zoneName();
      default:
        return /^[.,]/.test(element) ? this.fraction(element) : this.offset(element);
    }
  }

  /** Seconds may carry a fraction that the layout does not mention. */
  private implicitFraction(next: Part | undefined): boolean {
    if (next?.kind === "element" && /^[.,]/.test(next.text)) return true;
    const found = this.match(/[.,]\d+/y);
    if (found !== undefined) this.fields.nanosecond = nanoseconds(found.slice(1));
    return true;
  }

  private fraction(element: string): boolean {
    if (element[1] === "9") {
      const found = this.match(/[.,]\d+/y);
      if (found !== undefined) this.fields.nanosecond = nanoseconds(found.slice(1));
      return true;
    }
    const found = this.match(new RegExp(`[.,]\\d{${element.length - 1}}`, "y"));
    if (found === undefined) return false;
    this.fields.nanosecond = nanoseconds(found.slice(1));
    return true;
  }

  private halfDay(element: string): boolean {
    const found = this.match(element === "PM" ? /[AP]M/y : /[ap]m/y);
    if (found === undefined) return false;
    this.fields.isPm = found[0]!.toUpperCase() === "P";
    this.fields.isAm = !this.fields.isPm;
    return true;
  }

  private zoneName(): boolean {
    if (this.match(/UTC/y) !== undefined) {
      this.fields.isUtc = true;
      return true;
    }
    return this.text.length - this.at >= 3 && this.match(ZONE_NAME) !== undefined;
  }

  private offset(element: string): boolean {
    if (element.startsWith("Z") && this.match(/Z/y) !== undefined) {
      this.fields.isUtc = true;
      return true;
    }
    const shape = element.slice(1).replace(/07|00/g, "(\\d{2})");
    const pattern = new RegExp(`([+-])${shape}`, "y");
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return false;
    this.at += found[0].length;
    const [hours, minutes, seconds] = [found[2], found[3], found[4]].map((one) => Number(one ?? 0)) as [
      number,
      number,
      number,
    ];
    if (hours > 24 || minutes > 60 || seconds > 60) return false;
    this.fields.offset = (found[1] === "-" ? -1 : 1) * (hours * 3600 + minutes * 60 + seconds);
    return true;
  }

  private name(names: readonly string[], length: number, set: (i: number) => number): boolean {
    const rest = this.text.slice(this.at).toLowerCase();
    const i = names.findIndex((name) => rest.startsWith(name.slice(0, length).toLowerCase()));
    if (i < 0) return false;
    this.at += Math.min(names[i]!.length, length);
    set(i);
    return true;
  }

  private number(pattern: RegExp, min: number, max: number, set: (value: number) => number): boolean {
    const found = this.match(pattern);
    const value = Number(found);
    if (found === undefined || value < min || value > max) return false;
    set(value);
    return true;
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  instant(): Instant | undefined {
    const { fields } = this;
    const date = this.date();
    if (date === undefined) return undefined;
    let { hour } = fields;
    if (fields.isPm && hour < 12) hour += 12;
    else if (fields.isAm && hour === 12) hour = 0;
    const local = toUnix({ year: fields.year, ...date, hour, minute: fields.minute, second: fields.second });
    return { seconds: local - (fields.isUtc ? 0 : fields.offset), nanosecond: fields.nanosecond };
  }

  private date(): { month: number; day: number } | undefined {
    const { year, month, day, yearDay: dayOfYear } = this.fields;
    if (dayOfYear < 0) {
      const known = { month: month < 0 ? 1 : month, day: day < 0 ? 1 : day };
      return known.day >= 1 && known.day <= daysIn(year, known.month) ? known : undefined;
    }
    if (dayOfYear < 1 || dayOfYear > 365 + (daysIn(year, 2) === 29 ? 1 : 0)) return undefined;
    const at = new Date(0);
    at.setUTCFullYear(year, 0, dayOfYear);
    const found = { month: at.getUTCMonth() + 1, day: at.getUTCDate() };
    return (month >= 0 && month !== found.month) || (day >= 0 && day !== found.day) ? undefined : found;
  }
}

function nanoseconds(digits: string): number {
  return Number(digits.slice(0, 9).padEnd(9, "0"));
}
