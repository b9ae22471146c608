/** A domain file's text to what it says, with everything that is wrong with it. */
import type { ActionSource, DomainSource, EntitySource, Named, RoleSource } from "./domain-source.ts";
import type { Findings, Position } from "./finding.ts";
import type { Located, LocatedMap } from "./located.ts";
import { NodeReader } from "./node-reader.ts";
import { readAction } from "./read-action.ts";
import { ENTITY_MEMBERS, readEntity, required } from "./read-entity.ts";
import { readLocatedYaml } from "./read-located-yaml.ts";

/** A file with every limit of a type used up is a fraction of this. */
export const DOMAIN_BYTES_MAX = 256 * 1024;

const START: Position = { line: 1, column: 1 };
const PARTS = ["actions", "permissions", "adapters", "sessions", "audit"];
const MEMBERS = ["domain", "entity", "entities", ...ENTITY_MEMBERS, ...PARTS];

/** Undefined where there is no domain to speak of; why is in `findings`. */
export function readDomainFile(bytes: Uint8Array, findings: Findings): DomainSource | undefined {
  if (bytes.length > DOMAIN_BYTES_MAX) {
    findings.error(START, `expected at most ${DOMAIN_BYTES_MAX} bytes, found ${bytes.length}`);
    return undefined;
  }
  const text = decoded(bytes);
  if (text === undefined) findings.error(START, "expected UTF-8");
  const root = text === undefined ? undefined : readLocatedYaml(text, findings);
  return root === undefined ? undefined : readDomain(root, findings);
}

export function decoded(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function readDomain(root: Located, findings: Findings): DomainSource | undefined {
  const reader = new NodeReader(findings);
  const map = reader.map(root, "domain file");
  if (map === undefined) return undefined;
  reader.members(map, "domain file", MEMBERS);
  const named = required(reader, map, { member: "domain", what: "domain file" });
  const entities = readEntities(reader, map);
  const isSingle = !map.members.has("entities");
  const actions = readActions(reader, map, { entities, isSingle });
  const roles = readRoles(reader, map);
  readAdapters(reader, map);
  readAudit(reader, map);
  const keepsSessions = readSessions(reader, map);
  return { file: findings.file, name: named?.name ?? "", entities, actions, roles, keepsSessions, findings, root };
}

function readEntities(reader: NodeReader, map: LocatedMap): EntitySource[] {
  const [single, several] = [map.members.get("entity"), map.members.get("entities")];
  if (single === undefined && several === undefined) {
    reader.findings.error(map.at, "domain file: entity is missing, or entities where there are several");
    return [];
  }
  if (several === undefined) {
    const named = reader.name(single!.value, "entity");
    return named === undefined ? [] : [readEntity(reader, named, map)];
  }
  for (const member of ["entity", ...ENTITY_MEMBERS]) {
    const misplaced = map.members.get(member);
    if (misplaced !== undefined)
      reader.findings.error(misplaced.at, `${member} belongs to one entity: expected it below a name in entities`);
  }
  return readSeveral(reader, several.value);
}

function readSeveral(reader: NodeReader, node: Located): EntitySource[] {
  const map = reader.map(node, "entities");
  const entries = map === undefined ? [] : reader.entries(map, "entities");
  if (map !== undefined && map.members.size === 0) reader.findings.error(map.at, "entities: expected one at least");
  const types = new Map<string, Named>();
  return entries.flatMap(({ key, value }) => {
    const inner = reader.map(value, key.name);
    if (inner === undefined) return [];
    reader.members(inner, key.name, ENTITY_MEMBERS);
    const entity = readEntity(reader, key, inner);
    const other = types.get(entity.type.name);
    if (other !== undefined)
      reader.findings.error(key.at, `${key.name} and ${other.name} are both ${entity.type.name} in proposals`);
    types.set(entity.type.name, key);
    return [entity];
  });
}

function readActions(
  reader: NodeReader,
  map: LocatedMap,
  place: { readonly entities: readonly EntitySource[]; readonly isSingle: boolean },
): ActionSource[] {
  const node = map.members.get("actions")?.value;
  const seen = new Map<string, Position>();
  return (node === undefined ? [] : (reader.list(node, "actions")?.items ?? [])).flatMap((item) => {
    const action = readAction(reader, item, place);
    if (action === undefined) return [];
    const earlier = seen.get(action.name);
    if (earlier !== undefined)
      reader.findings.error(action.at, `action ${action.name} is there twice, first on line ${earlier.line}`);
    seen.set(action.name, action.at);
    return [action];
  });
}

/** A role is a list of permissions, or an object of those that are true, as in data.yaml. */
function readRoles(reader: NodeReader, map: LocatedMap): RoleSource[] {
  const node = map.members.get("permissions")?.value;
  const permissions = node === undefined ? undefined : reader.map(node, "permissions");
  if (permissions === undefined) return [];
  reader.members(permissions, "permissions", ["roles"]);
  const roles = permissions.members.get("roles")?.value;
  const entries = roles === undefined ? undefined : reader.map(roles, "roles");
  return (entries === undefined ? [] : reader.entries(entries, "roles")).map(({ key, value }) => ({
    ...key,
    permissions: value.kind === "map" ? granted(reader, key.name, value) : reader.names(value, `role ${key.name}`),
  }));
}

function granted(reader: NodeReader, role: string, map: LocatedMap): Named[] {
  return reader.entries(map, `role ${role}`).map(({ key, value }) => {
    if (value.kind !== "scalar" || value.value !== true)
      reader.findings.error(value.at, `role ${role}: expected true for ${key.name}; leave out what it has not`);
    return key;
  });
}

const ADAPTER_MEMBERS = ["name", "source", "kind"];

/** Where events come from is the sidecar's to know, with mappings and secrets: of these only the names are checked. */
function readAdapters(reader: NodeReader, map: LocatedMap): void {
  const node = map.members.get("adapters")?.value;
  const seen = new Set<string>();
  for (const item of node === undefined ? [] : (reader.list(node, "adapters")?.items ?? [])) {
    const adapter = reader.map(item, "adapter");
    if (adapter === undefined) continue;
    reader.members(adapter, "adapter", ADAPTER_MEMBERS);
    const named = required(reader, adapter, { member: "name", what: "adapter" });
    for (const member of ["source", "kind"]) {
      const found = adapter.members.get(member);
      if (found !== undefined) reader.name(found.value, member);
    }
    if (named === undefined) continue;
    if (seen.has(named.name)) reader.findings.error(named.at, `adapter ${named.name} is there twice`);
    seen.add(named.name);
    const note = `adapter ${named.name}: the sidecar's configuration must define one of this name; who may send events is decided there`;
    reader.findings.note(named.at, note);
  }
}

function readAudit(reader: NodeReader, map: LocatedMap): void {
  const node = map.members.get("audit")?.value;
  const audit = node === undefined ? undefined : reader.map(node, "audit");
  if (audit === undefined) return;
  reader.members(audit, "audit", ["store", "trace_propagation"]);
  const [store, traces] = [audit.members.get("store"), audit.members.get("trace_propagation")];
  if (store !== undefined && reader.name(store.value, "store") !== undefined)
    reader.findings.note(store.at, "audit.store: the sidecar's ledger is always the store, whatever is said here");
  const isPropagated = traces === undefined || isTrue(traces.value);
  if (!isPropagated)
    reader.findings.error(
      traces.value.at,
      "trace_propagation: expected true: every decision and event carries its trace",
    );
}

/** Contracts that add to sessions ask for them without it; rules that only read `input.session` need it said. */
function readSessions(reader: NodeReader, map: LocatedMap): boolean {
  const said = map.members.get("sessions");
  if (said === undefined) return false;
  if (said.value.kind === "scalar" && typeof said.value.value === "boolean") return said.value.value;
  reader.findings.error(said.value.at, "sessions: expected true, where policy looks at input.session");
  return false;
}

function isTrue(node: Located): boolean {
  return node.kind === "scalar" && node.value === true;
}
