import { expect, test } from "vitest";
import { createObservationReader, SCAN_CHARS_MAX, SCAN_MAX, SCANS_MAX } from "../../src/gate/list-observations.ts";

type Ledger = Parameters<typeof createObservationReader>[0];

const observed = (index: number, padding = "") =>
  JSON.stringify({
    kind: "decision",
    tenant: "default",
    decision: { decision_id: `dec_${index}`, observed_outcome: "deny" },
    input: { actor: { id: padding }, entity: null },
  });

/** A ledger of `size` entries, of which it makes each when it is read, and tells how many that were. */
function ledgerOf(size: number, textOf: (index: number) => string) {
  let read = 0;
  const ledger = {
    head: () => ({ size, rootHash: "" }),
    entries: (start: number, limit: number) => {
      read += limit;
      return Array.from({ length: limit }, (_, at) => ({ index: start + at, text: textOf(start + at) }));
    },
  } as unknown as Ledger;
  return { ledger, read: () => read };
}

const request = { tenant: "default", limit: 500, before: undefined };

test("createObservationReader() looks at so many entries for one request, and says where to go on", async () => {
  const { ledger, read } = ledgerOf(SCAN_MAX + 7, () => "{}");
  const list = createObservationReader(ledger);
  const page = await list(request);
  expect(page).toEqual({ observations: [], cursor: 7 });
  expect(read()).toBe(SCAN_MAX);
  expect(await list({ ...request, before: page.cursor })).toEqual({ observations: [], cursor: undefined });
});

test("createObservationReader() stops at so many characters, however few entries they are", async () => {
  const padding = "x".repeat(256 * 1024);
  const { ledger, read } = ledgerOf(1_000, (index) => observed(index, padding));
  const page = await createObservationReader(ledger)(request);
  expect(read()).toBeLessThanOrEqual(SCAN_CHARS_MAX / padding.length + 8);
  expect(page.observations.length).toBeGreaterThan(0);
  expect(page.cursor).toBe(1_000 - page.observations.length);
});

test("createObservationReader() reads for one at a time, and turns away who would be one too many", async () => {
  const { ledger } = ledgerOf(100, observed);
  const list = createObservationReader(ledger);
  const pages = Array.from({ length: SCANS_MAX }, () => list({ ...request, limit: 3 }));
  await expect(list(request)).rejects.toMatchObject({ code: "overloaded" });
  for (const { observations } of await Promise.all(pages))
    expect(observations.map(({ decision_id }) => decision_id)).toEqual(["dec_99", "dec_98", "dec_97"]);
  expect((await list(request)).observations).toHaveLength(100);
});
