/**
 * OPA's own conformance cases through this host, where OPA's source is on the machine (it is, after .tools/opa.sh has
 * built OPA from source). Hundreds of cases share one build: each gets a package of its own.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { createWasmHost } from "../../src/policy/wasm-host.ts";
import { KNOWN_DIFFERENCES } from "./support/known-differences.ts";
import { buildWasm, CAPABILITIES, checkFiles, goModuleDirectory, readText } from "./support/opa.ts";

interface Case {
  readonly note: string;
  readonly query: string;
  readonly modules?: readonly string[];
  readonly data?: unknown;
  readonly input?: unknown;
  readonly input_term?: string;
  readonly want_result?: readonly Readonly<Record<string, unknown>>[];
  readonly want_error?: string;
  readonly want_error_code?: string;
  readonly want_defined?: boolean;
  readonly sort_bindings?: boolean;
  readonly strict_error?: boolean;
  readonly env?: unknown;
}

interface Prepared {
  readonly name: string;
  readonly entrypoint: string;
  readonly from: Case;
  readonly files: Readonly<Record<string, string>>;
}

const directory = goModuleDirectory("github.com/open-policy-agent/opa@v1.20.2/v1/test/cases/testdata/v1");
const isPresent = directory !== undefined && existsSync(directory);
if (!isPresent) console.log("opa-conformance: OPA's source is not in the Go module cache, skipped");

const QUERY = /^data\.([\w.]+) = x$/;

function readCases(root: string): Case[] {
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".yaml"));
  return files
    .sort()
    .flatMap((file) => (parse(readText(join(root, file)), { intAsBigInt: false }) as { cases: Case[] }).cases);
}

/** Cases about the query language itself, other than one rule's value, cannot be asked of a compiled module. */
function prepare(all: readonly Case[]): Prepared[] {
  return all.flatMap((one, i): Prepared[] => {
    const path = QUERY.exec(one.query)?.[1];
    if (path === undefined || one.modules === undefined || one.env !== undefined || isCompileError(one)) return [];
    const name = `c${i}`;
    const rename = (text: string): string =>
      text.replace(/^(\s*)package ([\w.]+)/m, `$1package ${name}.$2`).replace(/\bdata(?=[.[])/g, `data.${name}`);
    const files: Record<string, string> = {};
    one.modules.forEach((module, n) => {
      files[`${name}/m${n}.rego`] = rename(module);
    });
    if (one.data !== undefined) files[`${name}/data.json`] = JSON.stringify({ ...(one.data as object) });
    return [{ name, entrypoint: `${name}/${path.replaceAll(".", "/")}`, from: one, files }];
  });
}

const COMPILE_ERRORS = [
  "rego_type_error",
  "rego_compile_error",
  "rego_parse_error",
  "rego_recursion_error",
  "rego_unsafe_var_error",
];

function isCompileError(one: Case): boolean {
  return one.want_error_code !== undefined && COMPILE_ERRORS.includes(one.want_error_code);
}

/** Leaves out what OPA refuses to build, asked until it has nothing to say: it reports one stage of compilation at a time. */
function buildAll(cases: readonly Prepared[]): {
  built: ReturnType<typeof buildWasm>;
  kept: readonly Prepared[];
  refused: Map<string, string>;
} {
  const refused = new Map<string, string>();
  let kept = cases;
  for (;;) {
    const message = checkFiles(filesOf(kept));
    if (message === "") break;
    const named = new Set([...message.matchAll(/\b(c\d+)\//g)].map((found) => found[1]!));
    if (named.size === 0) throw new Error(message);
    for (const one of kept) if (named.has(one.name)) refused.set(one.from.note, firstReason(message, one.name));
    kept = kept.filter((one) => !named.has(one.name));
  }
  const entrypoints = kept.map((one) => one.entrypoint);
  return { built: buildWasm(filesOf(kept), entrypoints, CAPABILITIES), kept, refused };
}

function filesOf(cases: readonly Prepared[]): Readonly<Record<string, string>> {
  return Object.assign({}, ...cases.map((one) => one.files)) as Record<string, string>;
}

function firstReason(message: string, name: string): string {
  return (
    message
      .split("\n")
      .find((line) => line.includes(`${name}/`))
      ?.replace(/^.*?rego:\d+:\s*/, "") ?? message
  );
}

function sorted(value: unknown): unknown {
  return Array.isArray(value) ? value.map((one) => JSON.stringify(one)).sort() : value;
}

function check(one: Case, answer: { kind: string; text?: string; message?: string }): string | undefined {
  if (one.want_error !== undefined || one.want_error_code !== undefined) {
    return answer.kind === "fault" || (one.strict_error === true && answer.kind === "undefined")
      ? undefined
      : `wanted an error, got ${JSON.stringify(answer)}`;
  }
  if (answer.kind === "fault") return `fault: ${answer.message}`;
  if (one.want_defined !== undefined)
    return (answer.kind === "result") === one.want_defined ? undefined : `got ${answer.kind}`;
  const wanted = one.want_result ?? [];
  if (wanted.length === 0) return answer.kind === "undefined" ? undefined : `wanted undefined, got ${answer.text}`;
  if (answer.kind !== "result") return "undefined";
  const got = JSON.parse(answer.text!) as unknown;
  const value = wanted[0]!["x"];
  const isEqual = (a: unknown, b: unknown): boolean => {
    try {
      expect(a).toEqual(b);
      return true;
    } catch {
      return false;
    }
  };
  if (isEqual(got, value) || (one.sort_bindings === true && isEqual(sorted(got), sorted(value)))) return undefined;
  return `wanted ${JSON.stringify(value)}, got ${answer.text}`;
}

test.runIf(isPresent)("createWasmHost() answers OPA's conformance cases as OPA does, but for those listed", () => {
  const cases = prepare(readCases(directory!));
  const { built, kept, refused } = buildAll(cases);
  const host = createWasmHost(built.wasm, built.data, { inputBytesMax: 1 << 22 });
  const differences: Record<string, string> = {};
  const allowed = new Set(
    (JSON.parse(readText(CAPABILITIES)) as { builtins: { name: string }[] }).builtins.map((one) => one.name),
  );
  for (const one of kept) {
    const { from } = one;
    const input = from.input_term ?? (from.input === undefined ? "{}" : JSON.stringify(from.input));
    const entrypoint = host.entrypoints.get(one.entrypoint);
    const difference = entrypoint === undefined ? "no entrypoint" : check(from, host.evaluate(entrypoint, input));
    if (difference !== undefined) differences[from.note] = difference;
  }
  for (const [note, reason] of refused) {
    const builtin = /undefined function ([\w.]+)/.exec(reason)?.[1];
    // A case that needs a refused builtin is refused as it should be; anything else has to be explained.
    if (builtin === undefined || allowed.has(builtin)) differences[note] = `refused: ${reason}`;
  }
  if (process.env["SHOW_DIFFERENCES"] !== undefined)
    console.log(JSON.stringify(differences, undefined, 1), kept.length);
  expect(kept.length).toBeGreaterThan(800);
  expect(Object.keys(differences).sort()).toEqual(Object.keys(KNOWN_DIFFERENCES).sort());
});
