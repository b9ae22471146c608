/**
 * Text as HTML. Whatever stands between the literals of a template is escaped, and what a reader could not see (controls,
 * marks that turn the direction of text, characters without width, spaces that are no space) is written out: a page shows
 * what there is, not what somebody would like to be seen.
 */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type HtmlValue = Html | string | number | undefined | readonly HtmlValue[];

/** Where a value stands decides how it may be written: a mark is an element between elements, and text in an attribute. */
type Place = "content" | "attribute";

/** Templates are few and their strings never change: each is looked at once. */
const places = new WeakMap<TemplateStringsArray, readonly Place[]>();

/** @throws where a value would stand in a tag without quotes: that is a fault of the template, not of the value */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let known = places.get(strings);
  if (known === undefined) {
    known = placesOf(strings);
    places.set(strings, known);
  }
  let text = strings[0]!;
  values.forEach((value, index) => {
    text += write(value, known[index]!) + strings[index + 1]!;
  });
  return new Html(text);
}

/** Text with line breaks of its own, for `<pre>`. */
export function lines(text: string): Html {
  return new Html(text.split("\n").map(marked).join("\n"));
}

function write(value: HtmlValue, place: Place): string {
  if (value === undefined) return "";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return place === "attribute" ? named(escapeHtml(value)) : marked(value);
  if (value instanceof Html) {
    if (place === "attribute") throw new Error("HTML cannot stand in an attribute");
    return value.text;
  }
  return value.map((item) => write(item, place)).join("");
}

function placesOf(strings: readonly string[]): readonly Place[] {
  let state: "content" | "tag" | "attribute" = "content";
  return strings.slice(0, -1).map((literal) => {
    for (const char of literal) {
      if (state === "content") state = char === "<" ? "tag" : "content";
      else if (state === "attribute") state = char === '"' ? "tag" : "attribute";
      else if (char === '"') state = "attribute";
      else if (char === ">") state = "content";
    }
    if (state === "tag") throw new Error(`A value in a tag must stand in double quotes: ${literal}`);
    return state;
  });
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};
const SPECIAL = /[&<>"'`]/g;

function escapeHtml(text: string): string {
  return text.replace(SPECIAL, (char) => ESCAPES[char]!);
}

/**
 * Everything without a shape of its own: controls, formats, unassigned and private characters, lone surrogates, separators
 * and spaces but U+0020, what fonts may ignore (fillers, variation selectors, tags), and the blank of Braille.
 */
const UNSEEN = /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu;

const nameOf = (char: string) => `\u27e8U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;

function named(text: string): string {
  return text.replace(UNSEEN, nameOf);
}

/** A mark is an element: the same characters written by a caller do not look like one. */
function marked(text: string): string {
  return escapeHtml(text).replace(UNSEEN, (char) => `<mark class="unseen">${nameOf(char)}</mark>`);
}
