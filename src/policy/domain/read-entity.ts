/** One entity type of a domain file: states, events, transitions, attributes. */
import { type AttributeFold, type EntityType, entityTypeSchema, type FoldOperation } from "../../core/domain.ts";
import { entityTypeFaults } from "../../core/domain-faults.ts";
import { parsePointer } from "../../core/json-pointer.ts";
import type { EntitySource, Named } from "./domain-source.ts";
import type { Position } from "./finding.ts";
import { type Located, type LocatedMap, positionAt } from "./located.ts";
import type { NodeReader } from "./node-reader.ts";

export const ENTITY_MEMBERS = ["events", "states", "transitions", "attributes"] as const;

/** `RefundCase` is `refund_case` on the wire. */
export function wireType(name: string): string {
  return name
    .replace(/(\p{Ll}|\p{Nd})(\p{Lu})/gu, "$1_$2")
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, "$1_$2")
    .replaceAll("-", "_")
    .toLowerCase();
}

/** @param node what holds its members; the whole file where there is one type only */
export function readEntity(reader: NodeReader, { name, at }: Named, node: LocatedMap): EntitySource {
  const errorsBefore = reader.findings.errorCount;
  const read = (member: string) => node.members.get(member)?.value;
  const [states, events, transitions, attributes] = [
    read("states"),
    read("events"),
    read("transitions"),
    read("attributes"),
  ];
  const type: EntityType = {
    name: wireType(name),
    states: states === undefined ? [] : plainNames(reader.names(states, "states")),
    events: events === undefined ? [] : plainNames(reader.names(events, "events")),
    transitions: transitions === undefined ? [] : readTransitions(reader, transitions),
    attributes: attributes === undefined ? new Map() : readAttributes(reader, attributes),
  };
  // What could not be read was told of already, and its gaps would be told of again.
  if (reader.findings.errorCount === errorsBefore) tellFaults(reader, { type, node });
  return { name, at, type, node };
}

export function compiledEntity({ states, events, transitions, attributes }: EntityType) {
  return { states, events, transitions, attributes: Object.fromEntries(attributes) };
}

function tellFaults({ findings }: NodeReader, { type, node }: { type: EntityType; node: LocatedMap }): void {
  const parsed = entityTypeSchema.safeParse(compiledEntity(type));
  for (const { path, message } of parsed.error?.issues ?? [])
    findings.error(positionAt(node, path as (string | number)[]), `${type.name}: ${message}`);
  for (const { path, message } of entityTypeFaults(type)) findings.error(positionAt(node, path), message);
}

function plainNames(names: readonly Named[]): string[] {
  return names.map(({ name }) => name);
}

const TRANSITION_MEMBERS = ["on", "from", "to"];

function readTransitions(reader: NodeReader, node: Located): EntityType["transitions"] {
  return (reader.list(node, "transitions")?.items ?? []).flatMap((item) => {
    const map = reader.map(item, "transition");
    if (map === undefined) return [];
    reader.members(map, "transition", TRANSITION_MEMBERS);
    const on = required(reader, map, { member: "on", what: "transition" });
    const to = required(reader, map, { member: "to", what: "transition" });
    const from = map.members.get("from");
    const states = from === undefined ? [] : plainNames(reader.oneOrMore(from.value, "from"));
    if (from !== undefined && from.value.kind === "list" && from.value.items.length === 0)
      reader.findings.error(from.value.at, "from: expected a state; leave it out for an entity that has none yet");
    return on === undefined || to === undefined ? [] : [{ on: on.name, from: states, to: to.name }];
  });
}

interface Wanted {
  readonly member: string;
  readonly what: string;
}

export function required(reader: NodeReader, map: LocatedMap, { member, what }: Wanted): Named | undefined {
  const found = map.members.get(member);
  if (found !== undefined) return reader.name(found.value, member);
  reader.findings.error(map.at, `${what}: ${member} is missing`);
  return undefined;
}

function readAttributes(reader: NodeReader, node: Located): EntityType["attributes"] {
  const map = reader.map(node, "attributes");
  const entries = map === undefined ? [] : reader.entries(map, "attributes");
  return new Map(
    entries.map(({ key, value }): [string, AttributeFold[]] => {
      const rules = value.kind === "list" ? value.items : [value];
      if (rules.length === 0) reader.findings.error(value.at, `${key.name}: expected a rule`);
      return [key.name, rules.flatMap((rule) => readFold(reader, key.name, rule))];
    }),
  );
}

const OPERATIONS = ["set", "first", "add", "min", "max", "count"] as const satisfies readonly FoldOperation[];

function readFold(reader: NodeReader, attribute: string, node: Located): AttributeFold[] {
  const map = reader.map(node, attribute);
  if (map === undefined) return [];
  reader.members(map, attribute, ["on", ...OPERATIONS]);
  const on = map.members.get("on");
  if (on === undefined) reader.findings.error(map.at, `${attribute}: on is missing: the event that it follows`);
  const events = on === undefined ? [] : plainNames(reader.oneOrMore(on.value, "on"));
  const found = OPERATIONS.flatMap((name) => (map.members.has(name) ? [name] : []));
  const [operation] = found;
  if (operation === undefined || found.length > 1) {
    reader.findings.error(map.at, `${attribute}: expected one of ${OPERATIONS.join(", ")}`);
    return [];
  }
  const pointer = readOperand(reader, operation, map.members.get(operation)!.value);
  return pointer === undefined ? [] : [{ on: events, operation, pointer }];
}

function readOperand(reader: NodeReader, operation: FoldOperation, node: Located): string | undefined {
  if (operation === "count") {
    if (node.kind === "scalar" && node.value === true) return "";
    return refuse(reader, node.at, "count: expected true");
  }
  const text = reader.text(node, operation);
  if (text === undefined || parsePointer(text) !== undefined) return text;
  const meant = parsePointer(`/${text}`) === undefined ? "" : `, did you mean /${text}?`;
  return refuse(reader, node.at, `${operation}: expected a JSON Pointer into the event's data such as /amount${meant}`);
}

function refuse(reader: NodeReader, at: Position, message: string): undefined {
  reader.findings.error(at, message);
}
