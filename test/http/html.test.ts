import fc from "fast-check";
import { expect, test } from "vitest";
import { Html, html } from "../../src/http/html.ts";
import { layOutJson } from "../../src/http/lay-out-json.ts";
import { duration } from "../../src/http/status-times.ts";

const content = (text: string) => html`<p>${text}</p>`.text.slice(3, -4);
const attribute = (text: string) => html`<p title="${text}"></p>`.text.slice(10, -6);
const MARK = /<mark class="unseen">(⟨U\+[0-9A-F]{4,6}⟩)<\/mark>/g;

test.each([
  ["<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"],
  [`"><img src=x onerror=alert(1)>`, "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;"],
  ["'`&amp;", "&#39;&#96;&amp;amp;"],
  ["$& $1 $`", "$&amp; $1 $&#96;"],
])("html escapes %s", (text, escaped) => {
  expect(content(text)).toBe(escaped);
  expect(attribute(text)).toBe(escaped);
});

test.each([
  ["a right-to-left override", "a\u202eb", "U+202E"],
  ["an isolate", "a\u2066b", "U+2066"],
  ["a space without width", "a\u200bb", "U+200B"],
  ["a joiner", "a\u200db", "U+200D"],
  ["a byte order mark", "a\ufeffb", "U+FEFF"],
  ["a soft hyphen", "a\u00adb", "U+00AD"],
  ["a no-break space", "a\u00a0b", "U+00A0"],
  ["an ideographic space", "a\u3000b", "U+3000"],
  ["a line separator", "a\u2028b", "U+2028"],
  ["NUL", "a\0b", "U+0000"],
  ["a line break", "a\nb", "U+000A"],
  ["a tab", "a\tb", "U+0009"],
  ["escape", "a\u001bb", "U+001B"],
  ["a C1 control", "a\u0085b", "U+0085"],
  ["a tag", "a\u{e0041}b", "U+E0041"],
  ["a variation selector", "a\ufe0fb", "U+FE0F"],
  ["a Hangul filler", "a\u3164b", "U+3164"],
  ["a grapheme joiner", "a\u034fb", "U+034F"],
  ["a blank of Braille", "a\u2800b", "U+2800"],
  ["a private character", "a\ue000b", "U+E000"],
  ["a lone surrogate", "a\ud800b", "U+D800"],
])("html makes %s visible", (_, text, name) => {
  expect(content(text)).toBe(`a<mark class="unseen">⟨${name}⟩</mark>b`);
  expect(attribute(text)).toBe(`a⟨${name}⟩b`);
});

test("html leaves alone what can be seen", () => {
  const text = "Refund 5 € für Ærø — 日本語 עברית العربية é 😀";
  expect(content(text)).toBe(text);
});

test("a mark that a caller writes is text, and does not look like ours", () => {
  expect(content("⟨U+202E⟩")).toBe("⟨U+202E⟩");
  expect(content('<mark class="unseen">')).toBe("&lt;mark class=&quot;unseen&quot;&gt;");
});

test("html writes nested HTML, lists, numbers and nothing", () => {
  expect(html`<i>${html`<b>${"<"}</b>`}${["a", 1, undefined, html`<br>`]}</i>`.text).toBe("<i><b>&lt;</b>a1<br></i>");
});

test("html refuses a value in a tag that is not in quotes, and HTML in an attribute", () => {
  const value = "x onload=alert(1)";
  expect(() => html`<p title=${value}></p>`).toThrow("double quotes");
  expect(() => html`<p ${value}></p>`).toThrow("double quotes");
  expect(() => html`<p title="${new Html("<b>")}"></p>`).toThrow("attribute");
  expect(html`<p class="a ${"b"} c" title="${"d"}">${"e"}</p>`.text).toBe('<p class="a b c" title="d">e</p>');
});

test("whatever the text: no markup but marks, nothing unseen, and the text can be read back", () => {
  const readBack = (text: string) =>
    text
      .replace(MARK, (_, name: string) => String.fromCodePoint(Number.parseInt(name.slice(3, -1), 16)))
      .replace(/&lt;|&gt;|&quot;|&#39;|&#96;|&amp;/g, (entity) => ENTITIES[entity]!);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const written = content(text);
      expect(written.replace(MARK, "")).not.toMatch(/[<>"'`]|(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u);
      expect(readBack(written)).toBe(text);
      expect(attribute(text)).not.toMatch(/[<>"'`]/);
    }),
    { seed: 7, numRuns: 200 },
  );
});

const ENTITIES: Readonly<Record<string, string>> = {
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
  "&#96;": "`",
  "&amp;": "&",
};

const textOf = (laidOut: Html) => laidOut.text.replaceAll(/<\/?bdi>/g, "").replaceAll("&quot;", '"');

test("layOutJson() lays JSON out as JSON.stringify() does", () => {
  const value = JSON.parse('{"a":[1,-0.5,1e+30,[],{}],"":{"b":null,"__proto__":{"c":true}},"d":"é 日本"}');
  expect(textOf(layOutJson(value, 10_000))).toBe(JSON.stringify(value, null, 2));
});

test("layOutJson() writes what would grow too long in one line, whole", () => {
  let nested: unknown[] = Array(1_000).fill(1);
  for (let depth = 0; depth < 60; depth += 1) nested = [nested];
  const text = JSON.stringify(nested);
  expect(textOf(layOutJson(nested as never, text.length * 16))).toBe(text);
});

test("layOutJson() keeps strings apart, so that their direction stays their own", () => {
  expect(layOutJson({ שלום: "\u202e1" }, 1_000).text).toBe(
    '{\n  <bdi>&quot;שלום&quot;</bdi>: <bdi>&quot;<mark class="unseen">⟨U+202E⟩</mark>1&quot;</bdi>\n}',
  );
});

test.each([
  [-5_000, "0 s"],
  [999, "0 s"],
  [61_000, "1 min 1 s"],
  [3_600_000, "1 h"],
  [90_061_000, "1 d 1 h"],
])("duration(%i) is %s", (ms, text) => {
  expect(duration(ms)).toBe(text);
});
