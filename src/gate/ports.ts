import type { EntryIndex } from "../core/entry-index.ts";
import type { Executors } from "../core/executor.ts";
import type {
  Clock,
  GateObserver,
  Ledger,
  PermitSigner,
  PermitVerifier,
  PolicySource,
  Randomness,
  Store,
} from "../core/ports.ts";
import type { ContextViews } from "./context-view.ts";
import type { FreezeWatch } from "./freezes.ts";
import type { GateOptions } from "./options.ts";
import type { ResultCache } from "./result-cache.ts";
import type { Turns } from "./turns.ts";

export interface GatePorts {
  readonly policy: PolicySource;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly signer: PermitSigner;
  readonly verifier: PermitVerifier;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly observer: GateObserver;
  readonly executors: Executors;
  /** Undefined in a process that answers no timelines. */
  readonly index?: EntryIndex | undefined;
}

/** Ports, complete options and what the gate keeps between requests. */
export interface GateContext extends GatePorts {
  /** Replaced whole when the modes change. */
  options: GateOptions;
  readonly results: ResultCache;
  readonly views: ContextViews;
  readonly freezes: FreezeWatch;
  readonly turns: Turns;
}
