/** What differs between two configurations, in words for the log and facts for the ledger. No key and no hash is in it. */
import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config/load-config.ts";
import type { Mode, Tenant } from "../core/types.ts";

export interface ModeChange {
  readonly from: Mode;
  readonly to: Mode;
}

/** By action; "*" is every action that has no mode of its own. */
export type ModeChanges = Readonly<Record<string, ModeChange>>;

type Modes = Pick<Config, "mode" | "tenants" | "actions">;

export function actionModeChanges(before: Modes, after: Modes): ModeChanges {
  const names = new Set([...Object.keys(before.actions), ...Object.keys(after.actions)]);
  const modeOf = ({ actions, mode }: Modes, name: string) => (Object.hasOwn(actions, name) ? actions[name]! : { mode });
  return changesOf([
    ["*", before.mode, after.mode],
    ...[...names].map((name) => [name, modeOf(before, name).mode, modeOf(after, name).mode] as const),
  ]);
}

export function tenantModeChanges(before: Modes, after: Modes): ModeChanges {
  const names = new Set([...Object.keys(before.tenants), ...Object.keys(after.tenants)]);
  const modeOf = ({ tenants, mode }: Modes, name: string) => (Object.hasOwn(tenants, name) ? tenants[name]! : { mode });
  return changesOf([...names].map((name) => [name, modeOf(before, name).mode, modeOf(after, name).mode] as const));
}

function changesOf(all: readonly (readonly [name: string, from: Mode, to: Mode])[]): ModeChanges {
  const changed = all.filter(([, from, to]) => from !== to);
  return Object.fromEntries(changed.map(([name, from, to]) => [name, { from, to }]));
}

/** `{"email.send": "enforce → observe"}`; undefined where nothing changed, so that no empty member is logged. */
export function inWords(changes: ModeChanges): Readonly<Record<string, string>> | undefined {
  const entries = Object.entries(changes).map(([name, { from, to }]) => [name, `${from} → ${to}`]);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

export interface CredentialChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** Names of API keys by tenant. One that was changed, its hash or what it may do, is removed and added. */
export function credentialChanges(
  before: Pick<Config, "api_keys">,
  after: Pick<Config, "api_keys">,
): ReadonlyMap<Tenant, CredentialChange> {
  const changes = new Map<Tenant, { readonly added: string[]; readonly removed: string[] }>();
  const note = (kind: keyof CredentialChange, entries: Config["api_keys"], others: Config["api_keys"]) => {
    // No id stands twice in a configuration; there may be thousands.
    const known = new Map(others.map((entry) => [entry.id, entry]));
    for (const entry of entries) {
      if (isDeepStrictEqual(known.get(entry.id), entry)) continue;
      const change = changes.get(entry.tenant) ?? { added: [], removed: [] };
      changes.set(entry.tenant, change);
      change[kind].push(entry.id);
    }
  };
  note("removed", before.api_keys, after.api_keys);
  note("added", after.api_keys, before.api_keys);
  return changes;
}
