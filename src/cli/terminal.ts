/**
 * Text for a terminal. Much of what is printed was written by agents, and a terminal obeys what it is shown: escape
 * sequences repaint it, bidirectional and invisible characters let one text look like another. So whatever came from
 * outside goes through here.
 */
import type { Json } from "../core/types.ts";

/**
 * Control and format characters, line and paragraph separators, surrogates, private and unassigned ones, white space
 * other than a space, whatever renders as nothing (default ignorable characters, the blank of Braille), and marks that
 * strike through or enclose what stands before them.
 */
const UNSAFE =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Me}]|\u2800|[\u0334-\u0338]|[\u20d0-\u20ff]|(?! )\p{Zs}/u;
const EVERY_UNSAFE = new RegExp(UNSAFE, "gu");
/** The layout of JSON has line breaks of its own; those of its texts are escaped already. */
const EVERY_UNSAFE_BUT_LINES = new RegExp(`(?!\\n)(?:${UNSAFE.source})`, "gu");

/** As it stands, where it shows what it is; else quoted, with `\uXXXX` for what does not show. */
export function shown(text: string): string {
  return UNSAFE.test(text) || text.startsWith('"') || text === "" ? jsonLine(text) : text;
}

/** Within a sentence: never quoted, line breaks escaped too. What was quoted already stays as it is. */
export function spoken(text: string): string {
  return escapeUnsafe(text, EVERY_UNSAFE);
}

/** JSON on one line. The same value to any reader: only the spelling of its texts differs. */
export function jsonLine(value: Json): string {
  return escapeUnsafe(JSON.stringify(value), EVERY_UNSAFE);
}

export function jsonPretty(value: Json): string {
  return escapeUnsafe(JSON.stringify(value, null, 2), EVERY_UNSAFE_BUT_LINES);
}

/** A text whose own line breaks are ours, such as the output of a compiler on a caller's file. */
export function shownLines(text: string): string {
  return escapeUnsafe(text, EVERY_UNSAFE_BUT_LINES);
}

function escapeUnsafe(text: string, unsafe: RegExp): string {
  return text.replace(unsafe, (char) =>
    [...Array(char.length).keys()].map((unit) => `\\u${char.charCodeAt(unit).toString(16).padStart(4, "0")}`).join(""),
  );
}

/** Cut at a number of characters, and says by how much. */
export function cut(text: string, charsMax: number): string {
  const chars = [...text];
  return chars.length <= charsMax
    ? text
    : `${chars.slice(0, charsMax).join("")}… (${chars.length - charsMax} characters more)`;
}

/** Columns two spaces apart, without trailing space. Cells are safe already. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => [...(row[column] ?? "")].length)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, column) => padded(cell, widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}

function padded(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - [...cell].length));
}

/** `key  value` lines, the values beneath one another. */
export function fields(pairs: readonly (readonly [name: string, value: string | undefined])[]): string[] {
  const present = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== undefined);
  const width = Math.max(0, ...present.map(([name]) => name.length));
  return present.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
}

const UNITS: readonly (readonly [letter: string, seconds: number])[] = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
];

/** The largest unit that fits at least twice, or once and exactly enough: `95s` is `95s`, `3h` is `3h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [letter, size] = UNITS.find(([, unit]) => whole >= 2 * unit) ?? UNITS.at(-1)!;
  return `${Math.floor(whole / size)}${letter}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
