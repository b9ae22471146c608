import { describe, expect, it } from "vitest";
import { readPolicyResult } from "../../src/core/policy-result.ts";
import { buildBundle, type Case, evaluateOpa, evaluateSdk, evaluateWasm, policyRoots, readCases } from "./support.ts";

const tables = readCases();
const bundle = buildBundle(policyRoots);
const evaluate = evaluateWasm(bundle);

/** Needs builtins of the host, which the SDK gets wrong. */
const hostTable = "needs_host_builtins";

const nativeCases = [...tables].flatMap(([table, cases]) => (table === hostTable ? [] : cases));

describe("the compiled policy", () => {
  for (const [table, cases] of tables) {
    it.each(cases)(`decides as the table says: ${table}: $name`, ({ input, expected }: Case) => {
      expect(evaluate(input)).toStrictEqual(expected);
    });
  }

  it("compiles and decides without any example, denying everything", () => {
    const alone = evaluateWasm(buildBundle(["rego/holdpoint"]));
    for (const { input } of nativeCases) expect(alone(input)).toMatchObject({ outcome: "deny" });
  });

  it("decides as the SDK does where no builtin of the host is needed", () => {
    const roots = ["refunds", "files", "support"].map((name) => `rego/examples/${name}`);
    const native = buildBundle(["rego/holdpoint", ...roots]);
    const [sdk, ours] = [evaluateSdk(native), evaluateWasm(native)];
    for (const { input } of nativeCases) expect(ours(input)).toStrictEqual(sdk(input));
  });

  it("gives results that the gate takes", () => {
    for (const { name, expected } of [...tables.values()].flat())
      expect(readPolicyResult(JSON.stringify(expected)), name).toMatchObject({ kind: "valid" });
  });

  it("has a case for every outcome", () => {
    const outcomes = new Set(nativeCases.map(({ expected }) => (expected as { outcome: string }).outcome));
    expect([...outcomes].sort()).toStrictEqual(["allow", "compute", "deny", "escalate"]);
  });
});

describe("opa eval", () => {
  it("decides the cases that need builtins of the host as the table says", () => {
    const cases = tables.get(hostTable)!;
    const answers = evaluateOpa(
      policyRoots,
      cases.map(({ input }) => input),
    );
    expect(answers).toStrictEqual(cases.map(({ expected }) => expected));
  });
});

const wrongValues: readonly unknown[] = [null, true, false, 0, 5, "", "x", [], [1], {}, { x: 1 }];

/** Every member, at every depth, as a path. */
function paths(value: unknown, prefix: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const path = [...prefix, key];
    return [path, ...paths(inner, path)];
  });
}

/** A copy with the member at `path` replaced, or absent where `value` is undefined. */
function changed(input: unknown, path: readonly string[], value: unknown): unknown {
  const copy = structuredClone(input) as Record<string, unknown>;
  let parent = copy;
  for (const key of path.slice(0, -1)) parent = parent[key] as Record<string, unknown>;
  const last = path.at(-1)!;
  if (Array.isArray(parent) && value === undefined) parent.splice(Number(last), 1);
  else if (value === undefined) delete parent[last];
  else parent[last] = value;
  return copy;
}

/**
 * Members without which the unmodified case may still be allowed. Nothing in the library reads `tenant`, `time`,
 * `actor.type` or what a context holds beside `environment`; an optional argument may be left out; and what is acted
 * on, the context and the principal are demanded only by contracts that say so.
 */
const harmlessWhenAbsent = new Set([
  "tenant",
  "time",
  "actor.type",
  "actor.on_behalf_of",
  "actor.on_behalf_of.type",
  "actor.on_behalf_of.roles",
  "context",
  "context.session",
  "context.environment",
  "action.arguments.currency",
]);

/** Of these the type does not matter either: no rule reads them. */
const harmlessWhenWrong = new Set([
  "tenant",
  "time",
  "actor.type",
  "actor.on_behalf_of.type",
  "context.session",
  "context.environment",
]);

/** What nothing reads of one case's entity and session: there it may be absent or anything. */
const unread = new Map<string, RegExp>([
  ["allow a small refund of a paid order", /^(approval|session|entity\.(version|attributes\.total))$/],
  [
    "allow to forward before personal data was read",
    /^(approval|entity\.(version|attributes(\.customer)?)|session\.(id|count|head|sums|actions(\..+)?))$/,
  ],
]);

interface Variant {
  readonly path: string;
  readonly value: unknown;
  readonly input: unknown;
  readonly wasAllowed: boolean;
}

function variants({ input, expected }: Case): readonly Variant[] {
  const wasAllowed = (expected as { outcome: string }).outcome === "allow";
  return paths(input).flatMap((path) =>
    [undefined, ...wrongValues].map((value) => ({
      path: path.join("."),
      value,
      input: changed(input, path, value),
      wasAllowed,
    })),
  );
}

/** A value that is right for what it replaces says nothing about wrong types. */
function isSameType(input: unknown, path: string, value: unknown): boolean {
  let original: unknown = input;
  for (const key of path.split(".")) original = (original as Record<string, unknown>)[key];
  return kind(original) === kind(value);
}

function kind(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

describe("input with a member absent or of another type", () => {
  const sources = ["allow small refund", "escalate above 100", "allow on behalf of an operator"]
    .concat(["compute write to production", "allow read", "escalate delete with forced argument"])
    .concat([...unread.keys()])
    .map((name) => nativeCases.find((candidate) => candidate.name === name)!);
  const generated = sources.flatMap((source) => variants(source).map((variant) => ({ ...variant, source })));
  const whole = [...wrongValues.filter((value) => value !== null)];
  const answers = evaluateOpa(policyRoots, [...generated.map(({ input }) => input), ...whole]);

  it("is decided by the compiled policy as by OPA", () => {
    expect(answers).toHaveLength(generated.length + whole.length);
    generated.forEach(({ input, path, value }, index) => {
      expect(evaluate(input), `${path} = ${JSON.stringify(value)}`).toStrictEqual(answers[index]);
    });
    whole.forEach((input, index) => {
      expect(evaluate(input), JSON.stringify(input)).toStrictEqual(answers[generated.length + index]);
    });
  });

  it("is never allowed, but for members that nothing reads", () => {
    const allowed = generated.flatMap((variant, index) => {
      if ((answers[index] as { outcome: string }).outcome !== "allow") return [];
      if (variant.wasAllowed && variant.value === undefined && harmlessWhenAbsent.has(variant.path)) return [];
      // Null is absence for entity, context, roles and on_behalf_of.
      if (variant.wasAllowed && variant.value === null && harmlessWhenAbsent.has(variant.path)) return [];
      if (variant.wasAllowed && harmlessWhenWrong.has(variant.path)) return [];
      if (unread.get(variant.source.name)?.test(variant.path)) return [];
      if (variant.value !== undefined && isSameType(variant.source.input, variant.path, variant.value)) return [];
      return [`${variant.source.name}: ${variant.path} = ${JSON.stringify(variant.value)}`];
    });
    expect(allowed).toStrictEqual([]);
  });

  it("is never allowed when it is not an object", () => {
    for (const answer of answers.slice(generated.length)) expect(answer).toMatchObject({ outcome: "deny" });
  });
});
