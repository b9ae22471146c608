/** Go's strconv.Quote family. */

const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;
const PLAIN = /^[ !#-[\]-~]*$/;
const SHORT: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

export function isPrintable(char: string): boolean {
  return PRINTABLE.test(char);
}

export function quoteGo(text: string, quote = '"', isAsciiOnly = false): string {
  if (quote === '"' && PLAIN.test(text)) return `"${text}"`;
  let out = quote;
  for (const char of text) out += escapeChar(char, quote, isAsciiOnly);
  return out + quote;
}

function escapeChar(char: string, quote: string, isAsciiOnly: boolean): string {
  if (char === quote || char === "\\") return `\\${char}`;
  const code = char.codePointAt(0)!;
  if (code < 0x80 ? code >= 0x20 && code < 0x7f : !isAsciiOnly && isPrintable(char)) return char;
  const short = SHORT[char];
  if (short !== undefined) return short;
  if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
  return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
}

function hex(code: number, width: number): string {
  return code.toString(16).padStart(width, "0");
}
