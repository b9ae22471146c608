/** What a domain file says against itself: states that no event leads to, actions that no state allows. */
import { ANY_STATE, type EntityType, type Transition } from "../../core/domain.ts";
import type { Json, JsonObject } from "../../core/types.ts";
import type { ActionSource, DomainSource, EntitySource, Named } from "./domain-source.ts";
import type { Findings } from "./finding.ts";
import { memberOf, positionAt } from "./located.ts";
import { meantBy } from "./node-reader.ts";

interface Lifecycle {
  readonly type: EntityType;
  /** States that some order of events leads to. Undefined where no transition is written yet. */
  readonly reachable: ReadonlySet<string> | undefined;
}

/** Of a file that could be read without an error: what is not there would be told of again here. */
export function checkDomain(domain: DomainSource): void {
  const { findings } = domain;
  const lifecycles = new Map(
    domain.entities.map((entity): [string, Lifecycle] => [entity.type.name, checkEntity(findings, entity)]),
  );
  for (const action of domain.actions) {
    checkAction(findings, action, lifecycles);
    warnOfTwoAtOnce(findings, action);
  }
}

/** Whoever binds a permit to a version may take that for more: the entity moves only after the action has run. */
function warnOfTwoAtOnce(findings: Findings, { name, at, event, executor, contract }: ActionSource): void {
  const binds = isObject(contract.permit) && contract.permit.bind_entity_version === true;
  if (!binds || event === undefined || executor === undefined || "lock" in contract || "limits" in contract) return;
  const advice = "give it a lock, or a limit of 1, kept by entity.id";
  findings.warn(at, `${name} can run twice at once: its state moves only after it has run; ${advice}`);
}

function checkEntity(findings: Findings, { type, node }: EntitySource): Lifecycle {
  const { states, transitions } = type;
  if (transitions.length === 0) {
    const at = memberOf(node, "states")?.at ?? node.at;
    if (states.length > 0) findings.warn(at, `${type.name}: no event leads to any state: transitions are missing`);
    return { type, reachable: undefined };
  }
  const reachable = reachableStates(transitions);
  for (const [index, state] of states.entries()) {
    if (!reachable.has(state))
      findings.error(
        positionAt(node, ["states", index]),
        `state ${state} is unreachable: no order of events leads to it`,
      );
  }
  repeatedTransitions(findings, transitions, (index) => positionAt(node, ["transitions", index]));
  return { type, reachable };
}

export function reachableStates(transitions: readonly Transition[]): ReadonlySet<string> {
  const next = new Map<string, Set<string>>();
  const reachable = new Set<string>();
  for (const { from, to } of transitions) {
    if (from.length === 0 || from.includes(ANY_STATE)) reachable.add(to);
    for (const state of from) next.set(state, (next.get(state) ?? new Set()).add(to));
  }
  // A set that grows is walked to its end, what was added meanwhile included.
  for (const state of reachable) for (const to of next.get(state) ?? []) reachable.add(to);
  return reachable;
}

type Where = (index: number) => { readonly line: number; readonly column: number };

function repeatedTransitions(findings: Findings, transitions: readonly Transition[], where: Where): void {
  const seen = new Map<string, number>();
  for (const [index, transition] of transitions.entries()) {
    const key = JSON.stringify([transition.on, [...transition.from].sort()]);
    const earlier = seen.get(key);
    if (earlier === undefined) seen.set(key, index);
    else findings.warn(where(index), `the same transition is on line ${where(earlier).line}`);
  }
}

function checkAction(findings: Findings, action: ActionSource, lifecycles: ReadonlyMap<string, Lifecycle>): void {
  const types = action.entityTypes.flatMap((name) => lifecycles.get(name) ?? []);
  // Types of another file, or of none: what states they have is not known here.
  const isKnown = types.length === action.entityTypes.length;
  if (action.allowedStates !== undefined) checkStates(findings, action, { types, isKnown });
  if (action.event !== undefined) {
    for (const type of types) checkEvent(findings, action, { ...type, event: action.event });
    if (types.length === 0 && isKnown) findings.error(action.event.at, `${action.name}: event of no entity`);
  }
}

function checkStates(
  findings: Findings,
  { name, allowedStates }: ActionSource,
  { types, isKnown }: { readonly types: readonly Lifecycle[]; readonly isKnown: boolean },
): void {
  const { at, states } = allowedStates!;
  if (states.length === 0)
    findings.error(at, `${name} is never allowed: allowed_states is empty; leave it out to allow it in any state`);
  if (!isKnown) return;
  const declared = types.flatMap(({ type }) => type.states);
  const unknown = states.filter((state) => !declared.includes(state.name));
  for (const state of unknown)
    findings.error(state.at, `${name}: unknown state ${state.name}${meantBy(state.name, declared)}`);
  const hasLifecycles = types.every(({ reachable }) => reachable !== undefined);
  if (states.length === 0 || unknown.length > 0 || !hasLifecycles) return;
  if (!states.some((state) => types.some(({ reachable }) => reachable!.has(state.name))))
    findings.error(at, `${name} is never allowed: each of its allowed_states is unreachable`);
}

/** An event without any transition is taken in every state, and leaves the state as it is. */
function checkEvent(
  findings: Findings,
  { name, allowedStates }: ActionSource,
  { type, reachable, event }: Lifecycle & { readonly event: Named },
): void {
  if (!type.events.includes(event.name)) {
    const meant = meantBy(event.name, type.events);
    findings.error(event.at, `${name}: unknown event ${event.name} of ${type.name}${meant}`);
    return;
  }
  const transitions = type.transitions.filter(({ on }) => on === event.name);
  if (transitions.length === 0) return;
  const leaves = (state: string) => transitions.some(({ from }) => from.includes(state) || from.includes(ANY_STATE));
  for (const state of allowedStates?.states ?? []) {
    if (type.states.includes(state.name) && !leaves(state.name))
      findings.error(event.at, `${name} is allowed in ${state.name}, from where ${event.name} leads nowhere`);
  }
  if (allowedStates !== undefined) return;
  const stuck = [...(reachable ?? [])].filter((state) => !leaves(state));
  if (stuck.length > 0)
    findings.warn(
      event.at,
      `${name} is allowed in any state, and from ${stuck.join(", ")} ${event.name} leads nowhere`,
    );
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
