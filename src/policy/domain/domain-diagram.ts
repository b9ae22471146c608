/**
 * An entity type as a Mermaid state diagram. Names may hold almost anything, and Mermaid has keywords and punctuation of
 * its own: ids are ours, and in texts whatever could mean something goes by its code.
 */
import { ANY_STATE } from "../../core/domain.ts";
import type { ActionSource, DomainSource, EntitySource } from "./domain-source.ts";

export interface DrawnEntity {
  readonly domain: DomainSource;
  readonly entity: EntitySource;
}

/** Lines of one diagram: each type in a box of its own where there are several. */
export function domainDiagram(drawn: readonly DrawnEntity[]): string[] {
  const [only] = drawn;
  if (drawn.length === 1 && only !== undefined) return ["stateDiagram-v2", ...indented(entityLines(only, ""))];
  const boxes = drawn.flatMap((one, index) => [
    `state "${escaped(one.entity.name)}" as entity${index + 1} {`,
    ...indented(entityLines(one, `entity${index + 1}_`)),
    "}",
  ]);
  return ["stateDiagram-v2", ...indented(boxes)];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

function entityLines({ domain, entity }: DrawnEntity, prefix: string): string[] {
  const { type } = entity;
  const ids = new Map(type.states.map((state, index) => [state, prefix + idOf(state, index)]));
  const actions = domain.actions.filter(({ entityTypes }) => entityTypes.includes(type.name));
  const anywhere = actions.filter(({ allowedStates }) => allowedStates === undefined);
  const anyId = `${prefix}any_state`;
  const isAnyDrawn = anywhere.length > 0 || type.transitions.some(({ from }) => from.includes(ANY_STATE));
  return [
    ...[...ids].map(([state, id]) => `state "${escaped(state)}" as ${id}`),
    ...(isAnyDrawn ? [`state "any state, or none" as ${anyId}`] : []),
    ...type.transitions.flatMap(({ on, from, to }) =>
      startsOf(from, ids, anyId).map((start) => `${start} --> ${ids.get(to)}: ${escaped(on)}`),
    ),
    ...(isAnyDrawn ? noteLines(anyId, anywhere) : []),
    ...[...ids].flatMap(([state, id]) =>
      noteLines(
        id,
        actions.filter((action) => isAllowedIn(action, state)),
      ),
    ),
  ];
}

function isAllowedIn({ allowedStates }: ActionSource, state: string): boolean {
  return allowedStates?.states.some(({ name }) => name === state) === true;
}

function startsOf(from: readonly string[], ids: ReadonlyMap<string, string>, anyId: string): string[] {
  if (from.length === 0) return ["[*]"];
  return from.includes(ANY_STATE) ? [anyId] : from.map((state) => ids.get(state)!);
}

function noteLines(id: string, actions: readonly ActionSource[]): string[] {
  if (actions.length === 0) return [];
  return [`note right of ${id}`, ...indented(actions.map(actionText)), "end note"];
}

function actionText({ name, contract, event }: ActionSource): string {
  const { risk, approval } = contract as { readonly risk?: string; readonly approval?: { readonly when?: string } };
  const said = [risk, approval?.when === "always" ? "approval" : undefined].filter((word) => word !== undefined);
  const about = said.length === 0 ? "" : ` (${said.join(", ")})`;
  return escaped(`${name}${about}${event === undefined ? "" : ` then ${event.name}`}`);
}

/** Never a word of Mermaid's own, of which it takes capitals for small letters. */
function idOf(state: string, index: number): string {
  return /^[A-Za-z0-9_]{1,64}$/.test(state) ? `s_${state}` : `s${index + 1}`;
}

/** Mermaid turns `#59;` back into the character when it draws. */
function escaped(text: string): string {
  return text.replace(/[^\p{L}\p{N}_ .,()/]/gu, (char) => `#${char.codePointAt(0)};`);
}
