/**
 * JSON for people, exact: one member a line, everything unseen marked, and each string kept apart from what is around it,
 * so that text which runs from right to left cannot change places with its neighbours.
 */
import type { Json } from "../core/types.ts";
import { Html, html } from "./html.ts";

/** @param charsMax of HTML; JSON that is deeply nested grows when laid out, and past this it stands in one line instead */
export function layOutJson(value: Json, charsMax: number): Html {
  const laidOut = createWriter("  ", charsMax);
  laidOut.write(value, "\n");
  if (!laidOut.isFull()) return laidOut.html();
  const compact = createWriter("", Number.POSITIVE_INFINITY);
  compact.write(value, "");
  return compact.html();
}

function createWriter(indent: string, charsMax: number) {
  const parts: string[] = [];
  let chars = 0;
  const put = (text: string) => {
    chars += text.length;
    parts.push(text);
  };
  const isFull = () => chars > charsMax;
  const string = (text: string) => put(html`<bdi>${JSON.stringify(text)}</bdi>`.text);
  /** @param start of a line: a break and the indentation so far */
  const write = (value: Json, start: string): void => {
    if (typeof value === "string") string(value);
    else if (typeof value !== "object" || value === null) put(JSON.stringify(value));
    else if (Array.isArray(value)) list(["[", "]"], value, start, (item, at) => write(item as Json, at));
    else {
      list(["{", "}"], Object.entries(value), start, ([name, item], at) => {
        string(name);
        put(indent === "" ? ":" : ": ");
        write(item, at);
      });
    }
  };
  const list = <T>(brackets: readonly [string, string], items: readonly T[], start: string, each: Each<T>): void => {
    put(brackets[0]);
    for (const [index, item] of items.entries()) {
      if (isFull()) return;
      if (index > 0) put(",");
      put(start + indent);
      each(item, start + indent);
    }
    if (items.length > 0) put(start);
    put(brackets[1]);
  };
  return { write, isFull, html: () => new Html(parts.join("")) };
}

type Each<T> = (item: T, start: string) => void;
