/** The vocabulary as types. Wire members are snake_case and live in the schemas; here is what the code passes around. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** "sha256:" and 64 lower-case hexadecimal digits. */
export type Digest = `sha256:${string}`;

/** `[a-z0-9-]{1,63}`: safe in a Redis key, a metric label and a URL. */
export type Tenant = string;

export type Mode = "enforce" | "observe";
export type Outcome = "allow" | "deny" | "compute" | "escalate";

export interface Reason {
  readonly code: string;
  readonly message: string;
}

export interface ActorRef {
  readonly id: string;
  readonly type?: string;
  readonly roles?: readonly string[];
  readonly on_behalf_of?: ActorRef;
}

export interface EntityRef {
  readonly type: string;
  readonly id: string;
}

/** Who acts, as authentication found them. `isAuthenticated` false means: taken from the body, in development only. */
export interface Identity {
  readonly id: string;
  readonly type: string;
  readonly roles: readonly string[];
  readonly isAuthenticated: boolean;
  /** Name of the issuer of a JWT; absent for an API key. */
  readonly issuer?: string;
}
