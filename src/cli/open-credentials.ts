/** Everything that says who asks: keys, issuers of JWTs, and what the two ports make of them. */
import type { Logger } from "pino";
import { type Config, isLocal } from "../config/load-config.ts";
import { createApiKeys } from "../http/api-keys.ts";
import { createAttemptLimiter } from "../http/attempt-limiter.ts";
import { type Authenticator, createAuthenticator, type RefusedCredential } from "../http/authenticate.ts";
import { createJwtCredentials } from "../http/jwt-credentials.ts";
import { type BearerTokens, createBearerTokens } from "../signing/bearer-tokens.ts";

export interface Credentials {
  authenticator(port: "decision" | "admin"): Authenticator;
  /** Takes up keys and issuers of a changed configuration; what was remembered of the old ones is forgotten. */
  replace(config: Config): void;
  /** Looks for the issuers' keys anew. What fails is logged, and leaves the keys there are. */
  refresh(): Promise<void>;
}

const UNTIL_STALE = "those it had serve until they are stale";

export function openCredentials(
  config: Config,
  of: { readonly logger: Logger; readonly onRefused: (refused: RefusedCredential) => void },
): Credentials {
  const limiter = createAttemptLimiter(() => performance.now());
  const onFailure = (error: Error) => of.logger.warn({ err: error }, `${error.message}: ${UNTIL_STALE}`);
  let current = config;
  let tokens = tokensOf(config, onFailure);
  let known = knownOf(config, tokens);
  const authenticator = (port: "decision" | "admin") =>
    createAuthenticator({
      port,
      callers: port === "decision" ? config.auth : callersOnAdmin(config),
      admins: config.admin_auth,
      metrics: config.metrics_auth,
      known: () => known,
      limiter,
      onRefused: of.onRefused,
    });
  return {
    authenticator,
    replace: (changed) => {
      current = changed;
      tokens = tokensOf(changed, onFailure, tokens);
      known = knownOf(changed, tokens);
    },
    refresh: async () => {
      for (const [issuer, error] of await tokens.refresh())
        of.logger.warn({ issuer, err: error }, `${error.message}: ${UNTIL_STALE}`);
      // A key that its issuer took back no longer counts for tokens that were seen before, either.
      known = knownOf(current, tokens);
    },
  };
}

/**
 * INVARIANT: who needs no credential on a socket or on loopback needs one where the admin port is reached from elsewhere,
 * or where it asks for one: the decision routes are served there, too.
 */
function callersOnAdmin({ auth, admin_auth }: Config): Config["auth"] {
  return auth.includes("none") ? admin_auth : auth;
}

function tokensOf(config: Config, onFailure: (error: Error) => void, before?: BearerTokens): BearerTokens {
  return createBearerTokens(config.jwt_issuers, {
    nowMs: () => Date.now(),
    jwks: { onFailure },
    ...(before === undefined ? {} : { before }),
  });
}

function knownOf(config: Config, tokens: BearerTokens) {
  return {
    findKey: createApiKeys(config.api_keys),
    findJwt: createJwtCredentials(tokens, config.jwt_issuers, () => Date.now()),
  };
}

/** A TCP listener that asks for no credential. */
export function isOpenToLocals(address: string, words: Config["auth"]): boolean {
  return words.includes("none") && !address.startsWith("unix:") && isLocal(address);
}
