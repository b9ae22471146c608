/**
 * Cases for `policy verify`, from JSON and YAML files: lists of proposals, lists of {name, proposal or input, expect}, or
 * the table that `opa test` reads, {cases: {<table>: [{name, input, expected}]}}.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { parseDocument } from "yaml";
import { ConfigError, toError } from "../core/errors.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import type { Json, JsonObject } from "../core/types.ts";
import { DOMAIN_FILES } from "./domain/find-sources.ts";

export interface PolicyCase {
  readonly name: string;
  /** Canonical policy input, or a proposal that has yet to become one. */
  readonly given:
    | { readonly kind: "input"; readonly text: string }
    | { readonly kind: "proposal"; readonly reading: Reading };
  /** JSON text of what the result must have, or be. */
  readonly expect: string | undefined;
  readonly isExact: boolean;
}

const FILE_BYTES_MAX = 64 << 20;
const LIMITS = { bytesMax: FILE_BYTES_MAX, depthMax: 128 };
/** Data of the policy, where cases lie beside it: what OPA loads under these names, and no other. */
const POLICY_DATA = new Set(["data.json", "data.yaml", "data.yml", ...DOMAIN_FILES]);
const EXTENSIONS = new Set([".json", ".yaml", ".yml"]);

/** @throws ConfigError with every fault of every file, or where there is no case at all */
export function readCases(path: string): PolicyCase[] {
  const faults: string[] = [];
  const cases = filesOf(path, faults).flatMap((file) => {
    try {
      return casesOf(basename(file), readFile(file), (fault) => faults.push(`${file}: ${fault}`));
    } catch (thrown) {
      faults.push(`${file}: ${toError(thrown).message.split("\n")[0]}`);
      return [];
    }
  });
  if (faults.length === 0 && cases.length === 0) faults.push(`${path}: no cases`);
  if (faults.length > 0) throw new ConfigError("config_invalid", `Cannot read the cases in ${path}`, faults);
  return cases;
}

function filesOf(path: string, faults: string[]): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path, { recursive: true, encoding: "utf8" })
      .filter((name) => EXTENSIONS.has(extname(name)) && !name.split("/").some((part) => part.startsWith(".")))
      .filter((name) => !POLICY_DATA.has(basename(name)))
      .sort()
      .map((name) => join(path, name));
  } catch (thrown) {
    faults.push(toError(thrown).message);
    return [];
  }
}

function readFile(file: string): Json {
  const bytes = readFileSync(file);
  if (extname(file) === ".json") return readJson(bytes, LIMITS).value;
  const document = parseDocument(bytes.toString("utf8"), { uniqueKeys: true, intAsBigInt: true });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw problem;
  return exactly(document.toJS({ maxAliasCount: 100 }));
}

/** YAML numbers as JSON has them; one that would become another is refused. */
function exactly(value: unknown): Json {
  if (typeof value === "bigint") {
    if (BigInt(Number(value)) !== value || !Number.isSafeInteger(Number(value)))
      throw new Error(`${value} is no number that every reader can be sure of`);
    return Number(value);
  }
  if (typeof value === "number" && !Number.isFinite(value)) throw new Error(`${value} is no JSON number`);
  if (Array.isArray(value)) return value.map(exactly);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, exactly(inner)]));
  return value as Json;
}

type Tell = (fault: string) => void;

function casesOf(name: string, value: Json, tell: Tell): PolicyCase[] {
  if (isObject(value) && Object.hasOwn(value, "cases")) {
    const { cases } = value;
    if (isObject(cases!))
      return Object.entries(cases).flatMap(([table, list]) => listOf(`${name}: ${table}`, list, tell));
    return listOf(name, cases!, tell);
  }
  return listOf(name, isObject(value) ? [value] : value, tell);
}

function listOf(name: string, value: Json, tell: Tell): PolicyCase[] {
  if (!Array.isArray(value)) {
    tell(`${name}: expected a list of cases`);
    return [];
  }
  return (value as readonly Json[]).flatMap((one, index) => caseOf(`${name}: `, one, { index, tell }));
}

const MEMBERS = new Set(["name", "note", "input", "proposal", "expect", "expected", "exact"]);

function caseOf(prefix: string, value: Json, { index, tell }: { index: number; tell: Tell }): PolicyCase[] {
  const label = `case ${index + 1}`;
  if (!isObject(value)) {
    tell(`${prefix}${label}: expected an object`);
    return [];
  }
  const isProposal = Object.hasOwn(value, "action") && !Object.hasOwn(value, "input");
  if (isProposal) {
    const given = { kind: "proposal", reading: reread(value) } as const;
    return [
      { name: prefix + (typeof value.id === "string" ? value.id : label), given, expect: undefined, isExact: false },
    ];
  }
  const fault = faultOf(value);
  if (fault !== undefined) {
    tell(`${prefix}${label}: ${fault}`);
    return [];
  }
  // `expected` is the word of tables for opa test, which compare whole results.
  const expect = Object.hasOwn(value, "expect") ? value.expect : value.expected;
  return [
    {
      name: prefix + (typeof value.name === "string" ? value.name : label),
      given: Object.hasOwn(value, "input")
        ? { kind: "input", text: reread(value.input!).canonical }
        : { kind: "proposal", reading: reread(value.proposal!) },
      expect: expect === undefined ? undefined : JSON.stringify(expect),
      isExact: value.exact === true || Object.hasOwn(value, "expected"),
    },
  ];
}

function faultOf(value: JsonObject): string | undefined {
  const has = (member: string) => Object.hasOwn(value, member);
  if (!has("input") && !has("proposal")) return "expected a proposal, or an object with a proposal or an input";
  if (has("input") && has("proposal")) return "a proposal and an input are two cases";
  const unknown = Object.keys(value).find((member) => !MEMBERS.has(member));
  if (unknown !== undefined) return `unknown member ${unknown}`;
  if (has("expect") && has("expected")) return "expect and expected are the same";
  if (has("exact") && typeof value.exact !== "boolean") return "exact: expected true or false";
  return undefined;
}

function reread(value: Json): Reading {
  return readJson(JSON.stringify(value), LIMITS);
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
