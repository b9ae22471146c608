/** Takes located values apart, and says what was expected where there is something else. */
import { IDENTIFIER } from "../../core/schema.ts";
import { suggest } from "../../core/suggest.ts";
import type { Named } from "./domain-source.ts";
import type { Findings } from "./finding.ts";
import { kindText, type Located, type LocatedList, type LocatedMap } from "./located.ts";

export class NodeReader {
  readonly findings: Findings;

  constructor(findings: Findings) {
    this.findings = findings;
  }

  map(node: Located, what: string): LocatedMap | undefined {
    return node.kind === "map" ? node : this.expected(node, what, "an object");
  }

  list(node: Located, what: string): LocatedList | undefined {
    return node.kind === "list" ? node : this.expected(node, what, "a list");
  }

  text(node: Located, what: string): string | undefined {
    if (node.kind === "scalar" && typeof node.value === "string") return node.value;
    return this.expected(node, what, "a text");
  }

  name(node: Located, what: string): Named | undefined {
    if (node.kind !== "scalar" || typeof node.value !== "string") return this.expected(node, what, "a name");
    if (this.isName(node.value)) return { name: node.value, at: node.at };
    this.findings.error(node.at, `${what}: ${JSON.stringify(node.value)} is no name${NO_NAME}`);
    return undefined;
  }

  /** A list of names, each once. */
  names(node: Located, what: string): Named[] {
    const seen = new Map<string, Named>();
    for (const item of this.list(node, what)?.items ?? []) {
      const named = this.name(item, what);
      if (named === undefined) continue;
      const earlier = seen.get(named.name);
      if (earlier === undefined) seen.set(named.name, named);
      else this.findings.error(named.at, `${what}: ${named.name} is there twice, first on line ${earlier.at.line}`);
    }
    return [...seen.values()];
  }

  /** One name, or a list of them. */
  oneOrMore(node: Located, what: string): Named[] {
    if (node.kind === "list") return this.names(node, what);
    const named = this.name(node, what);
    return named === undefined ? [] : [named];
  }

  oneOf(node: Located, what: string, known: readonly string[]): string | undefined {
    const isText = node.kind === "scalar" && typeof node.value === "string";
    if (isText && known.includes(node.value as string)) return node.value as string;
    const found = isText ? (node.value as string) : kindText(node);
    const meant = isText ? meantBy(found, known) : "";
    this.findings.error(node.at, `${what}: expected ${inWords(known)}, found ${found}${meant}`);
    return undefined;
  }

  /** Refuses what no member is known as, and names that no object should have as a member. */
  members(map: LocatedMap, what: string, known: readonly string[]): void {
    for (const [name, { at }] of map.members) {
      if (!known.includes(name)) this.findings.error(at, `${what}: unknown member ${name}${meantBy(name, known)}`);
    }
  }

  /** The members whose keys are names that the file gives. */
  entries(map: LocatedMap, what: string): { readonly key: Named; readonly value: Located }[] {
    return [...map.members].flatMap(([name, { at, value }]) => {
      if (this.isName(name)) return [{ key: { name, at }, value }];
      this.findings.error(at, `${what}: ${JSON.stringify(name)} is no name${NO_NAME}`);
      return [];
    });
  }

  private isName(text: string): boolean {
    return IDENTIFIER.test(text) && text !== "__proto__";
  }

  private expected(node: Located, what: string, kind: string): undefined {
    this.findings.error(node.at, `${what}: expected ${kind}, found ${kindText(node)}`);
  }
}

const NO_NAME = ": expected 1 to 256 characters without white space, control or format characters, or braces";

export function meantBy(name: string, known: readonly string[]): string {
  const near = suggest(
    name,
    known.filter((one) => one !== name),
  );
  return near === undefined ? "" : `, did you mean ${near}?`;
}

function inWords(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
