/** One action of a domain file, and the contract that it becomes. */
import type { Json, JsonObject } from "../../core/types.ts";
import { ACTION_MEMBERS, APPROVAL_TIMES, CONTRACT_MEMBERS, MODES, RISKS } from "./contract-members.ts";
import type { ActionSource, EntitySource, Named } from "./domain-source.ts";
import { type Located, type LocatedMap, memberOf, plainOf } from "./located.ts";
import { meantBy, type NodeReader } from "./node-reader.ts";
import { required } from "./read-entity.ts";

const KNOWN = [...ACTION_MEMBERS, ...CONTRACT_MEMBERS];

interface Place {
  readonly entities: readonly EntitySource[];
  /** One type in the file: its actions need not say so. */
  readonly isSingle: boolean;
}

export function readAction(reader: NodeReader, node: Located, place: Place): ActionSource | undefined {
  const map = reader.map(node, "action");
  if (map === undefined) return undefined;
  const named = required(reader, map, { member: "name", what: "action" });
  const what = named?.name ?? "action";
  reader.members(map, what, KNOWN);
  const at = (member: string) => map.members.get(member)?.value;
  const entityTypes = readEntityTypes(reader, map, { ...place, what });
  const [states, permissions] = [at("allowed_states"), readPermissions(reader, map, what)];
  const allowed = states === undefined ? undefined : { at: states.at, states: reader.names(states, "allowed_states") };
  const [event, executor] = [readName(reader, map, "event"), readName(reader, map, "executor")];
  const approval = readApproval(reader, at("approval"));
  const [risk, mode] = [readWord(reader, map, "risk", RISKS), readWord(reader, map, "mode", MODES)];
  const parameters = readParameters(reader, map, what);
  if (named === undefined) return undefined;
  const written = CONTRACT_MEMBERS.flatMap((member): [string, Json][] => {
    const value = at(member);
    return value === undefined ? [] : [[member, plainOf(value)]];
  });
  const contract: JsonObject = {
    ...Object.fromEntries(written),
    ...(entityTypes.length === 0 ? {} : { entity_types: entityTypes }),
    ...(allowed === undefined ? {} : { allowed_states: allowed.states.map(({ name }) => name) }),
    ...(permissions === undefined ? {} : { permissions: permissions.map(({ name }) => name) }),
    ...present({ parameters, risk, approval, mode, executor: executor?.name, event: event?.name }),
  };
  const approvalRoles = rolesAsked(reader, map);
  return {
    ...named,
    entityTypes,
    allowedStates: allowed,
    event,
    executor,
    permissions: permissions ?? [],
    approvalRoles,
    contract,
  };
}

function present(members: Readonly<Record<string, Json | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(members).filter((pair): pair is [string, Json] => pair[1] !== undefined));
}

function readName(reader: NodeReader, map: LocatedMap, member: string): Named | undefined {
  const found = map.members.get(member);
  return found === undefined ? undefined : reader.name(found.value, member);
}

function readWord(reader: NodeReader, map: LocatedMap, member: string, known: readonly string[]): string | undefined {
  const found = map.members.get(member);
  return found === undefined ? undefined : reader.oneOf(found.value, member, known);
}

/** By `entity`, in the file's own names; by `entity_types`, as proposals have them; else the file's only type. */
function readEntityTypes(
  reader: NodeReader,
  map: LocatedMap,
  { entities, isSingle, what }: Place & { readonly what: string },
): readonly string[] {
  const [named, wire] = [map.members.get("entity"), map.members.get("entity_types")];
  if (named !== undefined && wire !== undefined)
    reader.findings.error(wire.at, `${what}: entity and entity_types say the same: expected one of them`);
  if (named === undefined && wire !== undefined)
    return reader.names(wire.value, "entity_types").map(({ name }) => name);
  if (named === undefined) {
    if (isSingle) return entities.map(({ type }) => type.name);
    reader.findings.error(map.at, `${what}: entity is missing: the file has several`);
    return [];
  }
  return reader.oneOrMore(named.value, "entity").flatMap(({ name, at }) => {
    const found = entities.find((one) => one.name === name);
    if (found !== undefined) return [found.type.name];
    const known = entities.map((one) => one.name);
    reader.findings.error(at, `${what}: unknown entity ${name}${meantBy(name, known)}`);
    return [];
  });
}

function readPermissions(reader: NodeReader, map: LocatedMap, what: string): Named[] | undefined {
  const [wanted, written] = [map.members.get("required_permissions"), map.members.get("permissions")];
  if (wanted !== undefined && written !== undefined)
    reader.findings.error(
      written.at,
      `${what}: permissions and required_permissions say the same: expected one of them`,
    );
  const found = wanted ?? written;
  return found === undefined ? undefined : reader.names(found.value, "required_permissions");
}

/** `required_parameters` are parameters that are required; the rest of what is known of them is in `parameters`. */
function readParameters(reader: NodeReader, map: LocatedMap, what: string): JsonObject | undefined {
  const [names, specs] = [map.members.get("required_parameters"), map.members.get("parameters")];
  const written = specs === undefined ? undefined : reader.map(specs.value, "parameters");
  if (names === undefined && written === undefined) return undefined;
  const merged = new Map(Object.entries(written === undefined ? {} : (plainOf(written) as JsonObject)));
  for (const { name, at } of names === undefined ? [] : reader.names(names.value, "required_parameters")) {
    const spec = merged.get(name) ?? {};
    if (typeof spec !== "object" || spec === null || Array.isArray(spec)) continue; // told of when the bundle is built
    if ((spec as JsonObject).required === false)
      reader.findings.error(at, `${what}: ${name} is required, and by parameters it is not`);
    merged.set(name, { ...spec, required: true });
  }
  return Object.fromEntries(merged);
}

const APPROVAL_WORDS: Readonly<Record<string, JsonObject>> = {
  required: { when: "always" },
  never: { when: "never" },
};

function readApproval(reader: NodeReader, node: Located | undefined): Json | undefined {
  if (node === undefined) return undefined;
  if (node.kind === "map") {
    const when = memberOf(node, "when");
    if (when !== undefined) reader.oneOf(when, "approval: when", APPROVAL_TIMES);
    return plainOf(node);
  }
  const word = reader.oneOf(node, "approval", ["required", "never", "an object"]);
  return word === undefined ? undefined : APPROVAL_WORDS[word];
}

/** Of `approval`, and of each threshold that asks for one of its own. */
function rolesAsked(reader: NodeReader, map: LocatedMap): Named[] {
  const thresholds = memberOf(map, "thresholds");
  const rules = [map, ...(thresholds?.kind === "list" ? thresholds.items : [])];
  return rules.flatMap((rule) => {
    const approval = memberOf(rule, "approval");
    const roles = approval === undefined ? undefined : memberOf(approval, "roles");
    return roles === undefined ? [] : reader.names(roles, "approval: roles");
  });
}
