/** What performs the effect of an action that was allowed, as the gate sees it. */
import type { Json } from "./types.ts";

export interface ExecuteRequest {
  /** Name in the configuration. */
  readonly executor: string;
  /** Canonical JSON: {action: {name, arguments}, actor, entity, permit_id, execution_id, trace_id, lock?: {fence}}. */
  readonly bodyText: string;
  /** Compact JWS; already consumed, so that the executor can check it offline and nobody can use it again. */
  readonly permit: string;
  /** The same for every attempt at this execution. */
  readonly idempotencyKey: string;
  readonly traceId: string;
}

/**
 * `failed`: the action did not run, and that is certain (nobody was reached, or the executor refused it with a 4xx).
 * `unknown`: it may have run (no answer in time, a broken one, a 5xx, a redirect, an answer that is too long).
 */
export type ExecuteAnswer =
  | { readonly kind: "succeeded"; readonly status: number; readonly result: Json | undefined }
  | { readonly kind: "failed"; readonly status: number | undefined; readonly message: string }
  | { readonly kind: "unknown"; readonly status: number | undefined; readonly message: string };

export interface Executors {
  has(name: string): boolean;
  /** Never throws, always ends. Tries again only where the executor is declared idempotent. */
  execute(request: ExecuteRequest): Promise<ExecuteAnswer>;
}
