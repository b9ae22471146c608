/**
 * YAML 1.2 to values with their places, strictly: what two readers could take for different values is a fault. `on` and
 * `no` are texts in 1.2 and booleans in 1.1; numbers are written as JSON writes them; there are no tags, no directives,
 * no second document and no key twice.
 *
 * The text may be anybody's: it is looked through before it is composed, because composing costs stack by depth (a
 * megabyte of brackets ends the process, not only the call) and resolving aliases may cost anything.
 */
import {
  Composer,
  CST,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  Parser,
  Scalar,
} from "yaml";
import { toError } from "../../core/errors.ts";
import { readJson } from "../../core/read-json.ts";
import type { Findings, Position } from "./finding.ts";
import type { Located, LocatedMember, LocatedScalar } from "./located.ts";

export const YAML_DEPTH_MAX = 32;
/** Values once aliases are followed: more than any file of that size has by itself. */
export const YAML_VALUES_MAX = 200_000;
/** Past these, what a parser says is about what it said before. */
const SYNTAX_ERRORS_MAX = 20;

/** The value, as far as there is one; what is wrong is in `findings`. */
export function readLocatedYaml(text: string, findings: Findings): Located | undefined {
  const lines = new LineCounter();
  const positionOf = (offset: number): Position => {
    const { line, col } = lines.linePos(Math.min(offset, text.length));
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const refused = firstRefused(tokens);
  if (refused !== undefined) {
    findings.error(positionOf(refused.offset), refused.message);
    return undefined;
  }
  const options = { version: "1.2", uniqueKeys: false, prettyErrors: false, lineCounter: lines } as const;
  const [document] = [...new Composer(options).compose(tokens, true, text.length)];
  const problems = [...(document?.errors ?? []), ...(document?.warnings ?? [])];
  for (const { pos, message } of problems.slice(0, SYNTAX_ERRORS_MAX)) findings.error(positionOf(pos[0]), message);
  if (problems.length > 0 || document === undefined) return undefined;
  const walk = new Walk({ text, findings, positionOf });
  return walk.value(document.contents as Node | null, 0);
}

interface Refused {
  readonly offset: number;
  readonly message: string;
}

function firstRefused(tokens: readonly CST.Token[]): Refused | undefined {
  let documents = 0;
  for (const token of tokens) {
    if (token.type === "directive")
      return { offset: token.offset, message: "expected no directive: the file is read as YAML 1.2" };
    if (token.type !== "document") continue;
    documents++;
    if (documents > 1) return { offset: token.offset, message: "expected one document, found another" };
    const refused = refusedWithin(token);
    if (refused !== undefined) return refused;
  }
  return undefined;
}

/** Without recursion: how deep it goes is what is being found out. */
function refusedWithin(document: CST.Document): Refused | undefined {
  const waiting: [token: CST.Token | null | undefined, depth: number][] = [[document.value, 0]];
  let tag = startRefused(document.start);
  while (waiting.length > 0) {
    const [token, depth] = waiting.pop()!;
    if (token === null || token === undefined) continue;
    if (depth > YAML_DEPTH_MAX)
      return { offset: token.offset, message: `expected at most ${YAML_DEPTH_MAX} levels, one within the other` };
    if (!CST.isCollection(token)) continue;
    for (const item of token.items) {
      tag ??= startRefused(item.start) ?? startRefused(item.sep);
      waiting.push([item.key, depth + 1], [item.value, depth + 1]);
    }
  }
  return tag;
}

function startRefused(tokens: readonly CST.SourceToken[] | undefined): Refused | undefined {
  const tag = tokens?.find(({ type }) => type === "tag");
  return tag === undefined
    ? undefined
    : { offset: tag.offset, message: "expected no tag: what it is, is how it is written" };
}

interface Text {
  readonly text: string;
  readonly findings: Findings;
  readonly positionOf: (offset: number) => Position;
}

const START: Position = { line: 1, column: 1 };
/** Booleans of YAML 1.1, and of the readers that still follow it. */
const OLD_BOOLEAN = /^(?:y|yes|n|no|on|off)$/i;

class Walk {
  private readonly of: Text;
  private readonly anchors = new Map<string, Node | null>();
  private readonly open = new Set<Node>();
  private values = 0;
  private isOver = false;

  constructor(of: Text) {
    this.of = of;
  }

  value(node: Node | null | undefined, depth: number): Located {
    const at = this.positionOf(node);
    if (++this.values > YAML_VALUES_MAX || depth > YAML_DEPTH_MAX) return this.over(at);
    if (isAlias(node)) return this.aliased(node.source, at, depth);
    if (node === null || node === undefined) return { kind: "scalar", at, value: null };
    if ("anchor" in node && typeof node.anchor === "string") this.anchors.set(node.anchor, node);
    this.open.add(node);
    const located = this.inner(node, at, depth);
    this.open.delete(node);
    return located;
  }

  private inner(node: Node, at: Position, depth: number): Located {
    if (isMap(node)) return { kind: "map", at, members: this.members(node.items as Pair<Node, Node | null>[], depth) };
    if (isSeq(node)) {
      const items: Located[] = [];
      for (const item of node.items as (Node | null)[]) {
        if (this.isOver) break;
        items.push(this.value(item, depth + 1));
      }
      return { kind: "list", at, items };
    }
    return isScalar(node) ? this.scalar(node, at) : { kind: "scalar", at, value: null };
  }

  /** Each key once, found by a look-up: the library's own check compares every key with every other. */
  private members(pairs: readonly Pair<Node, Node | null>[], depth: number): Map<string, LocatedMember> {
    const members = new Map<string, LocatedMember>();
    for (const { key, value } of pairs) {
      if (this.isOver) break;
      const at = this.positionOf(key);
      const name = this.key(key, at);
      const earlier = name === undefined ? undefined : members.get(name);
      if (earlier !== undefined)
        this.of.findings.error(at, `${JSON.stringify(name)} is there twice, first on line ${earlier.at.line}`);
      const member = { at, value: this.value(value, depth + 1) };
      if (name !== undefined && earlier === undefined) members.set(name, member);
    }
    return members;
  }

  private key(key: Node | null, at: Position): string | undefined {
    if (isScalar(key) && typeof key.value === "string") {
      if (isWellFormed(key.value)) return key.value;
      this.of.findings.error(at, "expected well-formed Unicode");
    } else this.of.findings.error(at, "expected a name as key: quote what is to be a text");
    return undefined;
  }

  private aliased(name: string, at: Position, depth: number): Located {
    const target = this.anchors.get(name);
    if (target === undefined || target === null) this.of.findings.error(at, `unknown anchor ${name}`);
    else if (this.open.has(target)) this.of.findings.error(at, `${name} would hold itself`);
    else return this.value(target, depth);
    return { kind: "scalar", at, value: null };
  }

  private scalar(node: Scalar, at: Position): LocatedScalar {
    const { value, source, type } = node;
    if (typeof value === "number" || typeof value === "bigint")
      return { kind: "scalar", at, value: this.number(node, at) };
    if (typeof value === "string") {
      if (!isWellFormed(value)) this.of.findings.error(at, "expected well-formed Unicode");
      if (type === Scalar.PLAIN && OLD_BOOLEAN.test(value))
        this.of.findings.warn(
          at,
          `${value} is a text here, and a boolean to readers of YAML 1.1: quote it, or say true or false`,
        );
      return { kind: "scalar", at, value };
    }
    if (typeof value === "boolean") {
      if (source !== "true" && source !== "false")
        this.of.findings.error(at, "expected true or false, in small letters");
      return { kind: "scalar", at, value };
    }
    return { kind: "scalar", at, value: null };
  }

  /** Exactly the value that was written, or a fault: as for every number from outside. */
  private number({ source = "" }: Scalar, at: Position): number {
    try {
      const { value } = readJson(Buffer.from(source), { bytesMax: 512, depthMax: 1 });
      if (typeof value === "number") return value;
    } catch (thrown) {
      this.of.findings.error(at, `expected a number as JSON has them: ${toError(thrown).message}`);
    }
    return 0;
  }

  private over(at: Position): Located {
    if (!this.isOver) {
      const message = `expected at most ${YAML_VALUES_MAX} values and ${YAML_DEPTH_MAX} levels once aliases are followed`;
      this.of.findings.error(at, message);
    }
    this.isOver = true;
    return { kind: "scalar", at, value: null };
  }

  private positionOf(node: Node | null | undefined): Position {
    const offset = node?.range?.[0];
    return offset === undefined ? START : this.of.positionOf(offset);
  }
}

/** A lone surrogate is a code point of its own here; a pair is none. */
function isWellFormed(text: string): boolean {
  return !/\p{Cs}/u.test(text);
}
