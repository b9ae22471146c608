import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  authorizeProposal,
  type Caller,
  excludedReviewers,
  isSamePrincipal,
  mayActAs,
  UNAUTHENTICATED_CALLER,
} from "../../src/core/caller.ts";
import { InvalidRequestError } from "../../src/core/errors.ts";
import type { Proposal } from "../../src/core/proposal.ts";
import type { ActorRef } from "../../src/core/types.ts";

const SEED = 20_261_120;

const caller = (changes: Partial<Caller> = {}): Caller => ({
  ...UNAUTHENTICATED_CALLER,
  credentialId: "key-1",
  isAuthenticated: true,
  actors: new Set(["a"]),
  roles: new Set(["r"]),
  onBehalfOf: new Set(["p"]),
  ...changes,
});

const by = (actor: ActorRef) => ({ actor }) as Proposal;

function refusal(of: Caller, actor: ActorRef): { code: string; pointer: string | undefined } | undefined {
  try {
    authorizeProposal(of, by(actor));
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidRequestError);
    const { code, pointer } = error as InvalidRequestError;
    return { code, pointer };
  }
}

describe("authorizeProposal()", () => {
  const small = fc.constantFrom("a", "b", "p", "q", "r", "s", "__proto__", "constructor");
  const actors: fc.Arbitrary<ActorRef> = fc.letrec<{ actor: ActorRef }>((tie) => ({
    actor: fc.record(
      { id: small, roles: fc.array(small, { maxLength: 3 }), on_behalf_of: tie("actor") },
      { requiredKeys: ["id"], noNullPrototype: true },
    ) as fc.Arbitrary<ActorRef>,
  })).actor;
  const permitted = fc.oneof(
    fc.constant("any" as const),
    fc.array(small).map((ids) => new Set(ids)),
  );

  test("names the first thing that the credential does not allow, and nothing where it allows all", () => {
    fc.assert(
      fc.property(actors, permitted, permitted, permitted, (actor, ids, roles, onBehalfOf) => {
        const allows = (of: ReadonlySet<string> | "any", id: string) => of === "any" || of.has(id);
        const places: [boolean, string][] = [];
        let pointer = "/actor";
        for (let one: ActorRef | undefined = actor; one !== undefined; one = one.on_behalf_of) {
          places.push([allows(one === actor ? ids : onBehalfOf, one.id), `${pointer}/id`]);
          for (const [index, role] of (one.roles ?? []).entries()) {
            places.push([allows(roles, role), `${pointer}/roles/${index}`]);
          }
          pointer += "/on_behalf_of";
        }
        const expected = places.find(([isAllowed]) => !isAllowed)?.[1];
        expect(refusal(caller({ actors: ids, roles, onBehalfOf }), actor)).toEqual(
          expected === undefined ? undefined : { code: "forbidden", pointer: expected },
        );
      }),
      { seed: SEED, numRuns: 2_000 },
    );
  });

  test("asks nothing of a caller without authentication, and everything of one that has it", () => {
    const actor = { id: "anybody", roles: ["root"], on_behalf_of: { id: "everybody" } };
    expect(refusal(UNAUTHENTICATED_CALLER, actor)).toBeUndefined();
    expect(refusal(caller({ actors: new Set(), isAuthenticated: true }), actor)?.pointer).toBe("/actor/id");
  });
});

test("mayActAs() takes a listed id as it is written, or any", () => {
  expect(mayActAs(caller(), "a")).toBe(true);
  expect(mayActAs(caller(), "A")).toBe(false);
  expect(mayActAs(caller({ actors: new Set() }), "a")).toBe(false);
  expect(mayActAs(caller({ actors: "any" }), "whoever")).toBe(true);
});

test("excludedReviewers() names the proposer, everybody behind it, and the credential", () => {
  const actor = { id: "a", on_behalf_of: { id: "p", on_behalf_of: { id: "q" } } };
  expect(excludedReviewers(actor, "key-1")).toEqual(["a", "p", "q", "key-1"]);
  expect(excludedReviewers({ id: "a" }, undefined)).toEqual(["a"]);
});

describe("isSamePrincipal()", () => {
  test.each([
    ["alice", "ALICE"],
    ["alice", "ａｌｉｃｅ"],
    ["alice", "ＡＬＩＣＥ"],
    ["kelvin", "\u212aelvin"],
    ["office", "o\ufb03ce"],
    ["jose\u0301", "jos\u00e9"],
    ["\u0451va", "\u0401VA"],
    ["s.smith", "\u017f.smith"],
    ["x1", "x\u00b9"],
    ["\u0130lker", "i\u0307LKER"],
  ])("knows %s in %s", (a, b) => {
    expect(isSamePrincipal(a, b)).toBe(true);
    expect(isSamePrincipal(b, a)).toBe(true);
  });

  test.each([
    ["alice", "alicia"],
    ["alice", "al1ce"],
    ["a", ""],
    ["o", "0"],
    ["jose", "jos\u00e9"],
  ])("tells %s from %s", (a, b) => {
    expect(isSamePrincipal(a, b)).toBe(false);
  });

  // Lower case alone is no case folding: these are one id in two cases, and are taken for two.
  test.each([
    ["strasse", "stra\u00dfe"],
    ["\u03bd\u03b9\u03ba\u03bf\u03c3", "\u039d\u0399\u039a\u039f\u03a3"],
  ])("knows %s in %s (full case folding)", (a, b) => {
    expect(isSamePrincipal(a, b)).toBe(true);
  });

  test("is an equivalence on ASCII in any case and width", () => {
    const word = fc.stringMatching(/^[!-~]{1,12}$/);
    const widened = (text: string) =>
      [...text].map((char) => String.fromCodePoint(char.codePointAt(0)! + 0xfee0)).join("");
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(isSamePrincipal(a, a.toUpperCase())).toBe(true);
        expect(isSamePrincipal(a.toLowerCase(), widened(a))).toBe(true);
        expect(isSamePrincipal(a, b)).toBe(a.toLowerCase() === b.toLowerCase());
      }),
      { seed: SEED, numRuns: 2_000 },
    );
  });
});
