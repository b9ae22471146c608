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
import type { GateOptions } from "./options.ts";
import type { ResultCache } from "./result-cache.ts";

export interface GatePorts {
  readonly policy: PolicySource;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly signer: PermitSigner;
  readonly verifier: PermitVerifier;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly observer: GateObserver;
}

/** Ports, complete options and what the gate keeps between requests. */
export interface GateContext extends GatePorts {
  /** Replaced whole when the modes change. */
  options: GateOptions;
  readonly results: ResultCache;
}
