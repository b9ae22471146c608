/** All domains of a bundle, and the data beside them, as one: who says what first, and who says it again. */
import type { Json, JsonObject } from "../../core/types.ts";
import type { Section } from "./data-files.ts";
import type { ActionSource, DomainSource, RoleSource } from "./domain-source.ts";
import type { Findings, Position } from "./finding.ts";
import { type Located, type LocatedMember, plainOf } from "./located.ts";
import { meantBy } from "./node-reader.ts";
import { compiledEntity } from "./read-entity.ts";

export interface DataSource {
  readonly findings: Findings;
  readonly sections: ReadonlyMap<Section, ReadonlyMap<string, LocatedMember>>;
}

interface Place extends Position {
  readonly file: string;
}

/** The bundle's data, without what data files say themselves. Told of: whatever two files say, and what nobody can do. */
export function mergeDomains(domains: readonly DomainSource[], data: readonly DataSource[]): JsonObject {
  const entities = onceEach(
    "entities",
    data,
    domains.flatMap((domain) =>
      domain.entities.map((entity) => ({
        domain,
        name: entity.type.name,
        at: entity.at,
        value: compiledEntity(entity.type) as unknown as Json,
      })),
    ),
  );
  const contracts = onceEach(
    "contracts",
    data,
    domains.flatMap((domain) =>
      domain.actions.map((action) => ({
        domain,
        name: action.name,
        at: action.at,
        value: action.contract,
      })),
    ),
  );
  const roles = mergeRoles(domains, data);
  checkPermissions(domains, data);
  const sections = Object.entries({ contracts, entities, roles }).filter(
    ([, members]) => Object.keys(members).length > 0,
  );
  const sessions = domains.some(({ keepsSessions }) => keepsSessions) ? { sessions: true } : {};
  return { holdpoint: { ...Object.fromEntries(sections), ...sessions } };
}

interface Said {
  readonly domain: DomainSource;
  readonly name: string;
  readonly at: Position;
  readonly value: Json;
}

const WORD = { contracts: "action", entities: "entity type", roles: "role" } as const satisfies Record<Section, string>;

function onceEach(section: Section, data: readonly DataSource[], said: readonly Said[]): JsonObject {
  const first = placesIn(section, data);
  for (const { domain, name, at } of said) {
    const earlier = first.get(name);
    // Within one file it was told of when that was read.
    if (earlier !== undefined && earlier.file !== domain.file)
      domain.findings.error(at, `${WORD[section]} ${name} is also in ${placeText(earlier)}`);
    first.set(name, earlier ?? { ...at, file: domain.file });
  }
  return sorted(said.map(({ name, value }) => [name, value]));
}

function placesIn(section: Section, data: readonly DataSource[]): Map<string, Place> {
  const places = data.flatMap(({ findings, sections }) =>
    [...(sections.get(section) ?? [])].map(([name, { at }]): [string, Place] => [name, { ...at, file: findings.file }]),
  );
  return new Map(places);
}

function placeText({ file, line, column }: Place): string {
  return `${file}:${line}:${column}`;
}

function sorted(entries: readonly (readonly [string, Json])[]): JsonObject {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Permissions of one role add up over all files. What a data file grants already is left to it: OPA takes no value twice. */
function mergeRoles(domains: readonly DomainSource[], data: readonly DataSource[]): JsonObject {
  const merged = new Map<string, Set<string>>();
  for (const { roles, findings } of domains) {
    for (const { name, at, permissions } of roles) {
      const elsewhere = data.flatMap((source) => roleIn(source, name));
      const list = elsewhere.find(({ value }) => value.kind !== "map");
      if (list !== undefined)
        findings.error(at, `role ${name} is a list in ${placeText(list)}: lists do not merge, make it an object`);
      const granted = merged.get(name) ?? new Set();
      for (const permission of permissions) {
        const set = elsewhere.flatMap((role) => permissionIn(role, permission.name));
        const refused = set.find(({ isGranted }) => !isGranted);
        if (refused !== undefined)
          findings.error(permission.at, `role ${name}: ${permission.name} is not true in ${placeText(refused)}`);
        if (set.length === 0) granted.add(permission.name);
      }
      merged.set(name, granted);
    }
  }
  return sorted(
    [...merged].map(([name, granted]) => [name, sorted([...granted].map((permission) => [permission, true]))]),
  );
}

interface RoleElsewhere extends Place {
  readonly value: Located;
}

function roleIn({ findings, sections }: DataSource, name: string): RoleElsewhere[] {
  const found = sections.get("roles")?.get(name);
  return found === undefined ? [] : [{ ...found.at, file: findings.file, value: found.value }];
}

function permissionIn({ file, value }: RoleElsewhere, permission: string): (Place & { isGranted: boolean })[] {
  const found = value.kind === "map" ? value.members.get(permission) : undefined;
  if (found === undefined) return [];
  return [{ ...found.at, file, isGranted: found.value.kind === "scalar" && found.value.value === true }];
}

/** What an action demands and no role gives, and what a role gives and no action demands. */
function checkPermissions(domains: readonly DomainSource[], data: readonly DataSource[]): void {
  const roles = [...domains.flatMap((domain) => domain.roles), ...grantsIn(data)];
  const granted = new Set(roles.flatMap(({ permissions }) => permissions.map(({ name }) => name)));
  const roleNames = new Set(roles.map(({ name }) => name));
  const actions = domains.flatMap((domain) => domain.actions);
  const demanded = new Set([...actions.flatMap((one) => one.permissions.map(({ name }) => name)), ...demandedIn(data)]);
  for (const domain of domains) {
    for (const action of domain.actions) checkDemands(domain.findings, action, { granted, roleNames });
    for (const role of domain.roles) checkGrants(domain.findings, role, demanded);
  }
}

function checkDemands(
  findings: Findings,
  { name, permissions, approvalRoles }: ActionSource,
  { granted, roleNames }: { readonly granted: ReadonlySet<string>; readonly roleNames: ReadonlySet<string> },
): void {
  for (const one of permissions.filter((permission) => !granted.has(permission.name))) {
    const sentence = `${name}: no role has the permission ${one.name}, so nobody may do it`;
    findings.error(one.at, () => sentence + meantBy(one.name, [...granted]));
  }
  for (const role of approvalRoles.filter((asked) => !roleNames.has(asked.name))) {
    const sentence = `${name}: reviewers must have the role ${role.name}, which is not among the roles`;
    findings.warn(role.at, () => sentence + meantBy(role.name, [...roleNames]));
  }
}

function checkGrants(findings: Findings, { name, permissions }: RoleSource, demanded: ReadonlySet<string>): void {
  for (const one of permissions.filter((permission) => !demanded.has(permission.name))) {
    const sentence = `role ${name}: no action requires ${one.name}`;
    findings.warn(one.at, () => sentence + meantBy(one.name, [...demanded]));
  }
}

interface Grants {
  readonly name: string;
  readonly permissions: readonly { readonly name: string }[];
}

function grantsIn(data: readonly DataSource[]): Grants[] {
  return data.flatMap(({ sections }) =>
    [...(sections.get("roles") ?? [])].map(([name, { value }]) => ({ name, permissions: grantedBy(plainOf(value)) })),
  );
}

function grantedBy(value: Json): { name: string }[] {
  if (Array.isArray(value)) return value.flatMap((name: Json) => (typeof name === "string" ? [{ name }] : []));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, isGranted]) => (isGranted === true ? [{ name }] : []));
}

function demandedIn(data: readonly DataSource[]): string[] {
  const contracts = data.flatMap(({ sections }) => [...(sections.get("contracts")?.values() ?? [])]);
  return contracts.flatMap(({ value }) => {
    const permissions = value.kind === "map" ? value.members.get("permissions")?.value : undefined;
    const items = permissions?.kind === "list" ? permissions.items : [];
    return items.flatMap((item) => (item.kind === "scalar" && typeof item.value === "string" ? [item.value] : []));
  });
}
