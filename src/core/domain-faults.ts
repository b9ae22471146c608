/**
 * What is wrong with an entity type in itself: names that stand for nothing, and transitions of which two would fit. A
 * domain with none of these never leaves its declared states, whatever events come in whatever order.
 */
import type { EntityType, Transition } from "./domain.ts";
import { suggest } from "./suggest.ts";

export const ANY_STATE = "*";

export interface DomainFault {
  /** Within the entity type. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Past these the first ones say enough, and looking for what was meant takes its time. */
export const DOMAIN_FAULTS_MAX = 100;

/** At most DOMAIN_FAULTS_MAX, in the order of the type's members. */
export function entityTypeFaults(type: EntityType): readonly DomainFault[] {
  const faults: DomainFault[] = [];
  for (const fault of faultsOf(type)) {
    if (faults.push(fault) >= DOMAIN_FAULTS_MAX) break;
  }
  return faults;
}

function* faultsOf(type: EntityType): Generator<DomainFault> {
  yield* nameFaults("states", type.states);
  yield* nameFaults("events", type.events);
  yield* transitionFaults(type);
  yield* conflicts(type.transitions);
  yield* attributeFaults(type);
}

function* nameFaults(member: string, names: readonly string[]): Generator<DomainFault> {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (name === ANY_STATE)
      yield { path: [member, index], message: `${ANY_STATE} is no name: it stands for any state` };
    if (seen.has(name)) yield { path: [member, index], message: `${name} is there twice` };
    seen.add(name);
  }
}

function* transitionFaults({ states, events, transitions }: EntityType): Generator<DomainFault> {
  const known = { states: new Set(states), events: new Set(events) };
  for (const [index, { on, from, to }] of transitions.entries()) {
    if (!known.events.has(on)) yield { path: ["transitions", index, "on"], message: unknown("event", on, events) };
    for (const [place, state] of from.entries()) {
      if (state !== ANY_STATE && !known.states.has(state))
        yield { path: ["transitions", index, "from", place], message: unknown("state", state, states) };
    }
    if (!known.states.has(to)) yield { path: ["transitions", index, "to"], message: unknown("state", to, states) };
  }
}

function* attributeFaults({ events, attributes }: EntityType): Generator<DomainFault> {
  const known = new Set(events);
  for (const [name, folds] of attributes) {
    for (const [index, { on }] of folds.entries()) {
      for (const [place, event] of on.entries()) {
        if (!known.has(event))
          yield { path: ["attributes", name, index, "on", place], message: unknown("event", event, events) };
      }
    }
  }
}

function unknown(what: string, name: string, known: readonly string[]): string {
  const near = suggest(name, known);
  return `unknown ${what} ${name}${near === undefined ? "" : `, did you mean ${near}?`}`;
}

/** One event's transitions, by where they lead from; null is an entity without a state. */
interface Taken {
  readonly by: Map<string | null, Arrival>;
  any: Arrival | undefined;
}

interface Arrival {
  readonly to: string;
  readonly index: number;
}

/** The same event from the same state to different ones: which is taken would hang on the order in the file. */
function* conflicts(transitions: readonly Transition[]): Generator<DomainFault> {
  const events = new Map<string, Taken>();
  for (const [index, { on, from, to }] of transitions.entries()) {
    const taken = events.get(on) ?? { by: new Map(), any: undefined };
    events.set(on, taken);
    const other = otherArrival(taken, from, to);
    if (other !== undefined) yield { path: ["transitions", index], message: conflictText(on, { other, to }) };
    for (const state of from.length === 0 ? [null] : from) {
      if (state === ANY_STATE) taken.any ??= { to, index };
      else if (!taken.by.has(state)) taken.by.set(state, { to, index });
    }
  }
}

interface Other {
  readonly state: string | null;
  readonly arrival: Arrival;
}

function otherArrival(taken: Taken, from: readonly string[], to: string): Other | undefined {
  for (const state of from.length === 0 ? [null] : from) {
    const candidates: (readonly [string | null, Arrival | undefined])[] =
      state === ANY_STATE
        ? [[ANY_STATE, taken.any], ...taken.by]
        : [
            [state, taken.by.get(state)],
            [state, taken.any],
          ];
    const found = candidates.find(([, arrival]) => arrival !== undefined && arrival.to !== to);
    if (found !== undefined) return { state: found[0], arrival: found[1]! };
  }
  return undefined;
}

function conflictText(on: string, { other, to }: { other: Other; to: string }): string {
  const from =
    other.state === null ? "an entity without a state" : other.state === ANY_STATE ? "any state" : other.state;
  return `${on} leads from ${from} to ${to}, and by transition ${other.arrival.index + 1} to ${other.arrival.to}`;
}
