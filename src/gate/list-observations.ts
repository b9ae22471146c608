/**
 * What observe mode let pass and enforce mode would have stopped, newest first. Read from the ledger itself: observing
 * opens no approvals, so that nobody is asked about what has long happened.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { UnavailableError } from "../core/errors.ts";
import type { JsonObject, Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";

export interface ObservationPage {
  readonly observations: readonly JsonObject[];
  /** Where to go on; undefined at the ledger's beginning. */
  readonly cursor: number | undefined;
}

/** Entries and characters that one request looks at; past either the page ends, and the cursor goes on. */
export const SCAN_MAX = 20_000;
export const SCAN_CHARS_MAX = 16 * 1024 * 1024;
/** Read in one go, between which others have their turn; entries may be as large as a request. */
const READ_AT_ONCE = 8;
/** Requests that may wait for theirs. */
export const SCANS_MAX = 32;
const MARK = '"observed_outcome":"';

export interface ObservationRequest {
  readonly tenant: Tenant;
  readonly limit: number;
  readonly before: number | undefined;
}

/**
 * One request at a time reads through the ledger, whoever asks: what it takes from deciding is bounded, however many ask.
 * @throws UnavailableError("overloaded") from the returned function, past SCANS_MAX
 */
export function createObservationReader(
  ledger: GateContext["ledger"],
): (request: ObservationRequest) => Promise<ObservationPage> {
  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    if (waiting >= SCANS_MAX) {
      const error = new UnavailableError("overloaded", `${waiting} others already read what observe mode let pass`);
      return Promise.reject(error);
    }
    waiting += 1;
    const reading = last.then(() => readObservations(ledger, request));
    last = reading
      .catch(() => {})
      .then(() => {
        waiting -= 1;
      });
    return reading;
  };
}

async function readObservations(ledger: GateContext["ledger"], request: ObservationRequest): Promise<ObservationPage> {
  let chars = 0;
  let end = Math.min(request.before ?? Number.POSITIVE_INFINITY, ledger.head().size);
  const last = Math.max(0, end - SCAN_MAX);
  const observations: JsonObject[] = [];
  while (end > last && chars < SCAN_CHARS_MAX) {
    const start = Math.max(last, end - READ_AT_ONCE);
    for (const { index, text } of [...ledger.entries(start, end - start)].reverse()) {
      end = index;
      chars += text.length;
      const observation = text.includes(MARK) ? observationOf(index, text, request.tenant) : undefined;
      if (observation !== undefined) observations.push(observation);
      if (observations.length === request.limit) return { observations, cursor: end > 0 ? end : undefined };
    }
    end = start;
    await nextTurn();
  }
  return { observations, cursor: end > 0 ? end : undefined };
}

/** Undefined for another tenant's, and for what would have been allowed as it was. */
function observationOf(index: number, text: string, tenant: Tenant): JsonObject | undefined {
  const entry = JSON.parse(text) as {
    readonly kind: string;
    readonly tenant: Tenant;
    readonly decision: JsonObject;
    readonly input: JsonObject;
  };
  if (entry.kind !== "decision" || entry.tenant !== tenant) return undefined;
  const { decision, input } = entry;
  const outcome = decision.observed_outcome;
  if (outcome === undefined || outcome === "allow") return undefined;
  const { actor, entity } = input;
  return {
    index,
    observed_outcome: outcome,
    ...picked(decision, DECISION_MEMBERS),
    actor: actor!,
    entity: entity!,
  };
}

const DECISION_MEMBERS = [
  "decision_id",
  "proposal_id",
  "decided_at",
  "action",
  "reasons",
  "contract",
  "rules",
  "risk",
  "trace_id",
] as const;

function picked(of: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(names.filter((name) => of[name] !== undefined).map((name) => [name, of[name]!]));
}
