/**
 * Go maps case rune by rune (simple mappings), JavaScript text by text (full ones: "ß" to "SS", final sigma). Where a
 * full mapping of one character is not one character, Go leaves it alone or has the entry below.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant
const ASCII = /^[\u0000-\u007f]*$/;

/** Simple upper-case mappings that JavaScript does not show: Greek with iota subscript. */
function simpleUpper(code: number): number | undefined {
  if (code >= 0x1f80 && code <= 0x1faf) return code & 8 ? code : code + 8;
  if (code === 0x1fb3 || code === 0x1fc3 || code === 0x1ff3) return code + 9;
  return undefined;
}

/**
 * Letters, and partners of letters, that came after Unicode 15, which is Go's version: Go leaves them alone. Newer ICU
 * versions know them.
 */
function isAfterUnicode15(code: number): boolean {
  if (code === 0x19b || code === 0x264) return true;
  return (
    (code >= 0xa7cb && code <= 0xa7dc && ![0xa7d0, 0xa7d1, 0xa7d6, 0xa7d7, 0xa7d8, 0xa7d9].includes(code)) ||
    (code >= 0x10d50 && code <= 0x10d85)
  );
}

export function upperGo(text: string): string {
  if (ASCII.test(text)) return text.toUpperCase();
  return [...text].map(upperRune).join("");
}

function upperRune(rune: string): string {
  const special = simpleUpper(rune.codePointAt(0)!);
  if (special !== undefined) return String.fromCodePoint(special);
  if (isAfterUnicode15(rune.codePointAt(0)!)) return rune;
  const upper = rune.toUpperCase();
  return [...upper].length === 1 ? upper : rune;
}

export function lowerGo(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase();
  return [...text].map(lowerRune).join("");
}

function lowerRune(rune: string): string {
  if (rune === "\u0130") return "i";
  if (isAfterUnicode15(rune.codePointAt(0)!)) return rune;
  const lower = rune.toLowerCase();
  return [...lower].length === 1 ? lower : rune;
}

const SPACE = "\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SPACE_AROUND = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");

export function trimSpaceGo(text: string): string {
  return text.replace(SPACE_AROUND, "");
}
