/** What a configuration whose mode is observe leaves in force, said truly: undefined where the mode is enforce. */
import type { Config } from "../config/load-config.ts";

const NAMES_SAID = 8;

export function observeWarning({
  mode,
  tenants,
  actions,
}: Pick<Config, "mode" | "tenants" | "actions">): string | undefined {
  if (mode !== "observe") return undefined;
  const enforced = (of: Readonly<Record<string, { readonly mode: string }>>) =>
    Object.entries(of).flatMap(([name, own]) => (own.mode === "enforce" ? [name] : []));
  const parts = [...listed("the actions", enforced(actions)), ...listed("the tenants", enforced(tenants))];
  if (parts.length === 0) return "nothing is blocked, unless policy itself enforces an action";
  return `enforced for ${parts.join(" and ")}; nothing else is blocked, unless policy itself enforces it`;
}

function listed(what: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const more = names.length - NAMES_SAID;
  return [`${what} ${names.slice(0, NAMES_SAID).join(", ")}${more > 0 ? ` and ${more} more` : ""}`];
}
