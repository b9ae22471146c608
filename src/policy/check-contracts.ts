/**
 * Whether the policy library takes a bundle's contracts, by asking the compiled library itself: each member and each
 * keyword is put into a contract of its own beside data that is otherwise empty, and evaluated. So there is no second list
 * of what a contract may hold. A contract with a member that is not taken denies everything at run time.
 */
import type { Json, JsonObject } from "../core/types.ts";
import type { Bundle } from "./assemble-bundle.ts";
import { policyOf } from "./load-policy.ts";

export interface ContractFault {
  readonly action: string;
  /** Where in the contract: `parameter to`, `parameter tags: items`. */
  readonly place: string | undefined;
  readonly kind:
    | "no_object"
    | "unknown_member"
    | "ill_typed_member"
    | "unknown_keyword"
    | "ill_typed_keyword"
    | "no_type";
  /** The member or keyword; "" where the contract is no object. */
  readonly name: string;
  /** Names that are known there, as far as the bundle's Rego tells them. */
  readonly known: readonly string[];
}

/** Empty where the entrypoint is not the library's: another policy may read its data as it likes. */
export function checkContracts(bundle: Bundle, entrypoint: string): readonly ContractFault[] {
  const contracts = Object.entries(objectOf(objectOf(objectOf(JSON.parse(bundle.dataText)).holdpoint).contracts));
  if (contracts.length === 0) return [];
  const questions = new Questions();
  const names = knownNames(bundle.rego);
  const isLibrary = questions.library();
  const asked = contracts.map(([action, contract]) => contractFaults(questions, { action, contract, names }));
  questions.ask(bundle, entrypoint);
  return isLibrary() ? asked.flatMap((answer) => answer()) : [];
}

/** An answer that is there once everything has been asked. */
type Later<T> = () => T;

type Refusal = "contract_invalid" | "parameter_invalid";

/** Collects questions, and has all of them answered by one instance. */
class Questions {
  private readonly contracts = new Map<string, { readonly contract: Json; readonly args: JsonObject }>();
  private readonly refused = new Map<string, ReadonlySet<string>>();

  /** True where the compiled library is known to refuse it for this reason. */
  isRefused(reason: Refusal, contract: Json, args: JsonObject = {}): Later<boolean> {
    const id = JSON.stringify([contract, args]);
    this.contracts.set(id, { contract, args });
    return () => this.refused.get(id)?.has(reason) === true;
  }

  /** Whether what is known to be right is taken, and what is known to be wrong refused. */
  library(): Later<boolean> {
    const nothing = "no member and no keyword";
    const right = this.isRefused("contract_invalid", {});
    const wrong = this.isRefused("contract_invalid", { [nothing]: true });
    const text = { parameters: { p: { type: "string" } } };
    const taken = this.isRefused("parameter_invalid", text, { p: "" });
    const misspelt = this.isRefused("parameter_invalid", keywordContract({ type: "string", [nothing]: true }), {
      p: "",
    });
    return () => !right() && wrong() && !taken() && misspelt();
  }

  ask(bundle: Bundle, entrypoint: string): void {
    const asked = [...this.contracts];
    const contracts = Object.fromEntries(asked.map(([, { contract }], index) => [`c${index}`, contract]));
    const dataText = JSON.stringify({ holdpoint: { contracts } });
    const policy = policyOf({ ...bundle, dataText }, { path: "", entrypoint }, new Date(0));
    for (const [index, [id, { args }]] of asked.entries()) {
      const input = { action: { name: `c${index}`, arguments: args }, actor: { id: "check" }, context: {} };
      const answer = policy.evaluate(JSON.stringify(input));
      if (answer.kind === "result") this.refused.set(id, codesOf(JSON.parse(answer.text) as Json));
    }
  }
}

function codesOf(result: Json): Set<string> {
  const { reasons } = objectOf(result);
  return new Set(Array.isArray(reasons) ? reasons.map((reason: Json) => String(objectOf(reason).code)) : []);
}

interface Names {
  readonly members: readonly string[];
  /** Members of what a member holds. */
  readonly inner: readonly string[];
  readonly keywords: readonly string[];
}

interface OneContract {
  readonly action: string;
  readonly contract: Json;
  readonly names: Names;
}

function contractFaults(questions: Questions, { action, contract, names }: OneContract): Later<ContractFault[]> {
  if (!isObject(contract)) {
    return () => [{ action, place: undefined, kind: "no_object", name: "", known: [] }];
  }
  const members = Object.entries(contract).map(([name, value]) => {
    const isRefused = questions.isRefused("contract_invalid", { [name]: value });
    return () => (isRefused() ? memberFaults({ action, contract, names }, name, value) : []);
  });
  const parameters = Object.entries(objectOf(contract.parameters)).map(([name, spec]) =>
    specFaults(questions, spec, { action, place: `parameter ${name}`, known: names.keywords, inItems: false }),
  );
  return () => [...members, ...parameters].flatMap((answer) => answer());
}

function memberFaults({ action, names }: OneContract, name: string, value: Json): ContractFault[] {
  const known = names.members;
  if (known.length > 0 && !known.includes(name))
    return [{ action, place: undefined, kind: "unknown_member", name, known }];
  const unknown = name === "parameters" ? [] : namesWithin(value).filter((inner) => !names.inner.includes(inner));
  if (unknown.length === 0 || known.length === 0)
    return [{ action, place: undefined, kind: "ill_typed_member", name, known }];
  return unknown.map((inner) => ({
    action,
    place: `member ${name}`,
    kind: "unknown_member",
    name: inner,
    known: names.inner,
  }));
}

/** Keys at any depth, but for those of a schema, which are a caller's own. */
function namesWithin(value: Json): string[] {
  if (Array.isArray(value)) return [...new Set((value as readonly Json[]).flatMap(namesWithin))];
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...(key === "schema" ? [] : namesWithin(inner))]);
}

interface Place {
  readonly action: string;
  readonly place: string;
  readonly known: readonly string[];
  readonly inItems: boolean;
}

/** A bound of each type under which some value passes, whatever the keyword; and a value of each type. */
const BOUNDS: readonly Json[] = [true, "", "string", -1, 0, 1, [], [""], { type: "string" }];
const VALUES: readonly (readonly [type: string, value: Json])[] = [
  ["string", ""],
  ["number", 0],
  ["boolean", true],
  ["array", []],
  ["object", {}],
];

function specFaults(questions: Questions, spec: Json, at: Place): Later<ContractFault[]> {
  if (!isObject(spec)) return () => []; // `parameters` itself is refused
  const perKeyword = Object.entries(spec).map(([name, bound]) => keywordFaults(questions, { name, bound, at }));
  const hasNoType = at.inItems && !Object.hasOwn(spec, "type");
  return () => [
    ...(hasNoType ? [{ ...faultAt(at), kind: "no_type" as const, name: "type" }] : []),
    ...perKeyword.flatMap((answer) => answer()),
  ];
}

function faultAt({ action, place, known }: Place) {
  return { action, place, known };
}

interface Keyword {
  readonly name: string;
  readonly bound: Json;
  readonly at: Place;
}

function keywordFaults(questions: Questions, { name, bound, at }: Keyword): Later<ContractFault[]> {
  const holding = BOUNDS.map((tried) => ({ kind: kindOf(tried), holds: holds(questions, { name, bound: tried, at }) }));
  const itself = ownTrial({ name, bound, at });
  const isTaken = itself === undefined ? undefined : holds(questions, itself);
  const inside =
    name === "items" && !at.inItems
      ? specFaults(questions, bound, { ...at, place: `${at.place}: items`, inItems: true })
      : () => [];
  return () => {
    const kinds = new Set(holding.filter((one) => one.holds()).map(({ kind }) => kind));
    if (kinds.size === 0) return [{ ...faultAt(at), kind: "unknown_keyword", name }];
    const within = inside();
    if (within.length > 0) return within;
    const isWrong = !kinds.has(kindOf(bound)) || isTaken?.() === false;
    return isWrong ? [{ ...faultAt(at), kind: "ill_typed_keyword", name }] : [];
  };
}

/** Bounds of the right type that still hold for nothing at all: a type that is none, a pattern that is none. */
function ownTrial({ name, bound, at }: Keyword): Keyword | undefined {
  if (name === "type") return { name, bound, at };
  // With an empty alternative every sound pattern takes the empty text.
  if (name === "pattern" && typeof bound === "string") return { name, bound: `${bound}|`, at };
  return undefined;
}

/** Whether any value passes. */
function holds(questions: Questions, { name, bound, at }: Keyword): Later<boolean> {
  const tried: readonly (readonly [string, Json])[] = name === "type" ? [...VALUES, ["null", null]] : VALUES;
  const refused = tried.map(([type, value]) => {
    const spec = { type, [name]: bound };
    return questions.isRefused(
      "parameter_invalid",
      keywordContract(at.inItems ? { type: "array", items: spec } : spec),
      { p: at.inItems ? [value] : value },
    );
  });
  return () => refused.some((isRefused) => !isRefused());
}

function keywordContract(spec: JsonObject): JsonObject {
  return { parameters: { p: spec } };
}

function kindOf(value: Json): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/** What the library's own text names: for saying what was probably meant, never for refusing. */
function knownNames(rego: readonly string[]): Names {
  const textOf = (name: string) =>
    rego.find((text) => new RegExp(`^package holdpoint\\.${name}$`, "m").test(text)) ?? "";
  const shape = textOf("shape").replace(/^\s*#.*$/gm, "");
  const member = /^member\([\s\S]*?^\}$/m.exec(shape)?.[0] ?? "";
  const keywords = textOf("parameters").matchAll(/\bkeyword == "(\w+)"/g);
  return {
    members: [...member.matchAll(/\bkey == "(\w+)"/g)].map((match) => match[1]!),
    inner: [...shape.matchAll(/"(\w+)"|\b[a-z_]+\.([a-z_]+)\b/g)].map((match) => match[1] ?? match[2]!),
    keywords: [...keywords].map((match) => match[1]!),
  };
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objectOf(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}
