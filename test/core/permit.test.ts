import { createHash } from "node:crypto";
import fc from "fast-check";
import { canonicalize } from "json-canonicalize";
import { describe, expect, test } from "vitest";
import { PermitError } from "../../src/core/errors.ts";
import {
  type ClaimExpectations,
  checkClaims,
  PERMIT_LEEWAY_SECONDS,
  type PermitClaims,
  permitClaimsSchema,
  type RealAction,
} from "../../src/core/permit.ts";
import type { Digest } from "../../src/core/types.ts";

const SEED = 20_261_120;
const NOW = 1_800_000_000;

const digest = (value: unknown): Digest => `sha256:${createHash("sha256").update(canonicalize(value)).digest("hex")}`;

const ARGUMENTS = { amount: 5 };
const ENTITY = { type: "order", id: "o-1" };
const PRINCIPAL = { id: "alice", roles: ["customer"] };

const bound = (more: object) => ({
  tenant: "default",
  actor: "agent",
  on_behalf_of: PRINCIPAL,
  action: "PAY",
  entity: ENTITY,
  ...more,
});

const claims = (changes: Partial<PermitClaims> = {}): PermitClaims => ({
  iss: "holdpoint",
  aud: "payments",
  sub: "agent",
  jti: "perm_00x",
  iat: NOW,
  nbf: NOW,
  exp: NOW + 60,
  tenant: "default",
  action: "PAY",
  entity: ENTITY,
  on_behalf_of: PRINCIPAL,
  binding_digest: digest(bound({ arguments: ARGUMENTS })),
  argument_digest: digest(ARGUMENTS),
  lineage: { decision_id: "dec_1", approval_id: null, policy_digest: digest({}), trace_id: "t" },
  uses: 1,
  ...changes,
});

const real = (changes: Partial<RealAction> = {}): RealAction => ({
  action: "PAY",
  argumentsText: canonicalize(ARGUMENTS),
  actorId: "agent",
  onBehalfOf: undefined,
  entity: ENTITY,
  ...changes,
});

const expected = (changes: Partial<ClaimExpectations> = {}): ClaimExpectations => ({
  nowSeconds: NOW,
  tenant: "default",
  audiences: new Set(["payments"]),
  ...changes,
});

function codeOf(of: PermitClaims, action: RealAction, expectations: ClaimExpectations): string | undefined {
  try {
    checkClaims(of, action, expectations);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(PermitError);
    return (error as PermitError).code;
  }
}

describe("checkClaims()", () => {
  test("accepts the action that the permit is for", () => {
    expect(codeOf(claims(), real(), expected())).toBeUndefined();
    expect(codeOf(claims(), real({ onBehalfOf: PRINCIPAL }), expected())).toBeUndefined();
    expect(codeOf(claims(), real(), expected({ audiences: undefined }))).toBeUndefined();
  });

  test.each<[string, Partial<PermitClaims>, string | undefined]>([
    ["from the very second", { nbf: NOW }, undefined],
    ["within the leeway before it", { nbf: NOW + PERMIT_LEEWAY_SECONDS }, undefined],
    ["a second earlier", { nbf: NOW + PERMIT_LEEWAY_SECONDS + 1 }, "not_yet_valid"],
    ["in its last second", { exp: NOW + 1 }, undefined],
    ["at its end, without leeway", { exp: NOW }, "expired"],
    ["after its end", { exp: NOW - 1 }, "expired"],
    ["neither begun nor still valid", { nbf: NOW + 100, exp: NOW - 100 }, "not_yet_valid"],
  ])("judges a permit %s", (_, changes, code) => {
    expect(codeOf(claims(changes), real(), expected())).toBe(code);
  });

  test.each<[string, Partial<RealAction>, string]>([
    ["another action", { action: "pay" }, "wrong_scope"],
    ["another actor", { actorId: "Agent" }, "wrong_scope"],
    ["another entity", { entity: { type: "order", id: "o-2" } }, "wrong_scope"],
    ["another type of entity", { entity: { type: "Order", id: "o-1" } }, "wrong_scope"],
    ["type and id changed for one another", { entity: { type: "o-1", id: "order" } }, "wrong_scope"],
    ["no entity", { entity: null }, "wrong_scope"],
    ["other arguments", { argumentsText: '{"amount":6}' }, "digest_mismatch"],
    ["nobody behind the actor", { onBehalfOf: null }, "digest_mismatch"],
    ["less of who is behind the actor", { onBehalfOf: { id: "alice" } }, "digest_mismatch"],
  ])("refuses %s", (_, changes, code) => {
    expect(codeOf(claims(), real(changes), expected())).toBe(code);
  });

  test("refuses an executor that answers to no audience at all", () => {
    expect(codeOf(claims(), real(), expected({ audiences: new Set() }))).toBe("wrong_audience");
  });

  test("recomputes the digest over every claim that it covers", () => {
    expect(codeOf(claims({ on_behalf_of: null }), real(), expected())).toBe("digest_mismatch");
    expect(codeOf(claims({ binding_digest: digest({}) }), real(), expected())).toBe("digest_mismatch");
    // The claimed digest of the arguments is evidence, and is not what is compared.
    expect(codeOf(claims({ argument_digest: digest({}) }), real(), expected())).toBeUndefined();
  });

  test("recomputes an envelope's digest over its schema", () => {
    const envelope = { type: "object", toJSON: { b: 1, a: 2 } };
    const binding = `{"action":"PAY","actor":"agent","arguments":null,"entity":{"id":"o-1","type":"order"},"envelope":{"toJSON":{"a":2,"b":1},"type":"object"},"on_behalf_of":{"id":"alice","roles":["customer"]},"tenant":"default"}`;
    const binding_digest: Digest = `sha256:${createHash("sha256").update(binding).digest("hex")}`;
    const of = claims({ envelope, binding_digest, argument_digest: null });
    expect(codeOf(of, real({ argumentsText: '{"any":"thing"}' }), expected())).toBeUndefined();
    expect(codeOf({ ...of, envelope: { type: "object" } }, real(), expected())).toBe("digest_mismatch");
    const { envelope: _, ...exact } = of;
    expect(codeOf(exact, real(), expected())).toBe("digest_mismatch");
  });

  test("says the first fault in the order of the checks, whatever else is wrong", () => {
    const faults = [
      ["not_yet_valid", { claims: { nbf: NOW + 3_600 } }],
      ["expired", { claims: { exp: NOW - 3_600 } }],
      ["wrong_audience", { claims: { aud: "shipping" } }],
      ["wrong_tenant", { expected: { tenant: "other" } }],
      ["wrong_scope", { real: { actorId: "mallory" } }],
      ["digest_mismatch", { real: { argumentsText: '{"amount":6}' } }],
    ] as const satisfies readonly (readonly [string, object])[];
    fc.assert(
      fc.property(fc.subarray([...faults]), (chosen) => {
        const merged = { claims: {}, real: {}, expected: {} };
        for (const [, changes] of chosen) {
          for (const [part, values] of Object.entries(changes)) {
            Object.assign(merged[part as keyof typeof merged], values);
          }
        }
        expect(codeOf(claims(merged.claims), real(merged.real), expected(merged.expected))).toBe(chosen[0]?.[0]);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });
});

describe("permitClaimsSchema", () => {
  const isValid = (changes: object) => permitClaimsSchema.safeParse({ ...claims(), ...changes }).success;

  test("takes what we sign", () => {
    expect(isValid({})).toBe(true);
    expect(isValid({ envelope: {}, argument_digest: null, uses: 7 })).toBe(true);
    expect(isValid({ entity: null, on_behalf_of: null })).toBe(true);
  });

  test.each<[string, object]>([
    ["a member more", { admin: true }],
    ["a member less", { tenant: undefined }],
    ["no uses", { uses: 0 }],
    ["half a use", { uses: 1.5 }],
    ["a time that is a text", { exp: "1" }],
    ["a time that is not whole", { nbf: NOW + 0.5 }],
    ["a tenant with a brace", { tenant: "{a}" }],
    ["an actor with a space", { sub: "a b" }],
    ["a digest in capitals", { binding_digest: `sha256:${"A".repeat(64)}` }],
    ["another kind of digest", { binding_digest: `md5:${"a".repeat(64)}` }],
    ["an envelope that is a list", { envelope: [] }],
    ["a lineage with more", { lineage: { ...claims().lineage, parent: "x" } }],
  ])("refuses %s", (_, changes) => {
    expect(isValid(changes)).toBe(false);
  });
});
