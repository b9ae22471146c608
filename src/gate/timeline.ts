/** What happened in one trace, or to one entity: rows out of the ledger, oldest first, a page at a time. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type EntryIndex, entityTag, traceTag } from "../core/entry-index.ts";
import { causeKeys } from "../core/entry-tags.ts";
import { textAt, viewEntry } from "../core/entry-view.ts";
import { HoldpointError, NotFoundError, UnavailableError } from "../core/errors.ts";
import type { Ledger } from "../core/ports.ts";
import type { EntityRef, Tenant } from "../core/types.ts";
import { fullRows, type ProposerOf, summaryRows, type TimelineRow } from "./timeline-rows.ts";

export interface TimelineRequest {
  readonly tenant: Tenant;
  readonly about:
    | { readonly kind: "trace"; readonly traceId: string }
    | { readonly kind: "entity"; readonly ref: EntityRef };
  /** `full`: every entry under its own kind. */
  readonly detail: "summary" | "full";
  /** Rows of these kinds only; undefined: all. */
  readonly kinds: ReadonlySet<string> | undefined;
  /** Milliseconds since the epoch: rows from this time on, and rows before that one. */
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  /** Rows of this page, 1 or more. */
  readonly limit: number;
  readonly cursor: TimelineCursor | undefined;
}

/** The next row: an entry, and which of its rows. */
export interface TimelineCursor {
  readonly index: number;
  readonly row: number;
}

/** Whether an entity's events alone give the state it has; null: that could not be tried. */
export interface RebuildCheck {
  readonly matches: boolean | null;
  readonly events?: number;
  readonly reason?: string;
}

export interface TimelinePage {
  readonly rows: readonly TimelineRow[];
  /** Where to go on; undefined on the last page. */
  readonly cursor: TimelineCursor | undefined;
  /** On the last page of an entity. */
  readonly rebuild: RebuildCheck | undefined;
}

export interface TimelineParts {
  readonly ledger: Pick<Ledger, "read" | "find">;
  /** Undefined where nobody asks for timelines: in a process without the admin port. */
  readonly index: EntryIndex | undefined;
  readonly rebuild: (tenant: Tenant, ref: EntityRef) => Promise<RebuildCheck>;
}

/** Entries and characters that one page looks at; past either it ends, and its cursor goes on. */
export const TIMELINE_SCAN_MAX = 20_000;
export const TIMELINE_SCAN_CHARS_MAX = 16 * 1024 * 1024;
/** Pages that may be asked for at once; they are read one after another. */
export const TIMELINES_MAX = 32;
/** Entries that are looked up in one go, and read in one go, between which others have their turn. */
const FIND_AT_ONCE = 64;
const READ_AT_ONCE = 8;

/**
 * One page at a time is read, whoever asks: what it takes from deciding is bounded.
 * @throws NotFoundError trace_not_found, entity_not_found; UnavailableError, "overloaded" past TIMELINES_MAX
 */
export function createTimelineReader(parts: TimelineParts): (request: TimelineRequest) => Promise<TimelinePage> {
  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();
  return async (request) => {
    if (waiting >= TIMELINES_MAX) throw new UnavailableError("overloaded", `${waiting} others already read timelines`);
    waiting += 1;
    try {
      // An index that has to catch up first is waited for together, and not one after another.
      const isKnown = await isAnythingKnown(parts, request);
      const reading = last.then(() => readPage(parts, request));
      last = reading.catch(() => {});
      return concluded(parts, request, { ...(await reading), isKnown });
    } finally {
      waiting -= 1;
    }
  };
}

async function isAnythingKnown(parts: TimelineParts, request: TimelineRequest): Promise<boolean> {
  const [first] = await indexOf(parts).find({ tag: tagOf(request), from: 0, limit: 1 });
  if (first === undefined && request.about.kind === "trace") {
    throw new NotFoundError("trace_not_found", `No trace ${JSON.stringify(request.about.traceId)}`);
  }
  return first !== undefined;
}

async function concluded(
  parts: TimelineParts,
  { tenant, about }: TimelineRequest,
  { rows, cursor, isKnown }: Page & { readonly isKnown: boolean },
): Promise<TimelinePage> {
  if (about.kind === "trace" || cursor !== undefined) return { rows, cursor, rebuild: undefined };
  const rebuild = await checkRebuild(parts, tenant, about.ref);
  if (!isKnown && rebuild.matches === null) {
    throw new NotFoundError(
      "entity_not_found",
      `Nothing is known of ${about.ref.type} ${JSON.stringify(about.ref.id)}`,
    );
  }
  return { rows, cursor, rebuild };
}

/** What stands in the ledger is shown, whatever else may be out. */
async function checkRebuild(parts: TimelineParts, tenant: Tenant, ref: EntityRef): Promise<RebuildCheck> {
  try {
    const { matches, events, reason } = await parts.rebuild(tenant, ref);
    return { matches, ...(events === undefined ? {} : { events }), ...(reason === undefined ? {} : { reason }) };
  } catch (thrown) {
    if (thrown instanceof HoldpointError) return { matches: null, reason: thrown.message };
    throw thrown;
  }
}

function indexOf({ index }: TimelineParts): EntryIndex {
  if (index !== undefined) return index;
  throw new UnavailableError("overloaded", "Timelines are read where the admin port is served");
}

function tagOf({ tenant, about }: TimelineRequest): string {
  return about.kind === "trace" ? traceTag(tenant, about.traceId) : entityTag(tenant, about.ref.type, about.ref.id);
}

interface Page {
  readonly rows: readonly TimelineRow[];
  readonly cursor: TimelineCursor | undefined;
}

async function readPage(parts: TimelineParts, request: TimelineRequest): Promise<Page> {
  const index = indexOf(parts);
  const tag = tagOf(request);
  const page = new PageOfRows(parts, request);
  for (let from = request.cursor?.index ?? 0; ; ) {
    const indexes = await index.find({ tag, from, limit: FIND_AT_ONCE });
    for (const [at, one] of indexes.entries()) {
      if (page.isOver(one)) return page;
      if (at % READ_AT_ONCE === READ_AT_ONCE - 1) await nextTurn();
    }
    if (indexes.length < FIND_AT_ONCE) return page;
    from = indexes.at(-1)! + 1;
  }
}

class PageOfRows implements Page {
  readonly rows: TimelineRow[] = [];
  cursor: TimelineCursor | undefined;
  readonly #ledger: TimelineParts["ledger"];
  readonly #request: TimelineRequest;
  readonly #proposers = new Map<string, string | null>();
  #entries = 0;
  #chars = 0;

  constructor({ ledger }: TimelineParts, request: TimelineRequest) {
    this.#ledger = ledger;
    this.#request = request;
  }

  /** Adds an entry's rows; true where the page is full without them all, and `cursor` says where the next begins. */
  isOver(index: number): boolean {
    const begun = this.#request.cursor?.index === index ? this.#request.cursor.row : 0;
    if (this.#entries >= TIMELINE_SCAN_MAX || this.#chars >= TIMELINE_SCAN_CHARS_MAX) return this.#endsAt(index, begun);
    const rows = this.#rowsOf(index);
    for (let at = begun; at < rows.length; at += 1) {
      if (!this.#isWanted(rows[at]!)) continue;
      if (this.rows.length >= this.#request.limit) return this.#endsAt(index, at);
      this.rows.push(rows[at]!);
    }
    return false;
  }

  #endsAt(index: number, row: number): true {
    this.cursor = { index, row };
    return true;
  }

  #rowsOf(index: number): readonly TimelineRow[] {
    const text = this.#ledger.read(index) ?? "";
    this.#entries += 1;
    this.#chars += text.length;
    const entry = viewEntry(text);
    // INVARIANT (isolated): whatever an index says, an entry is shown to nobody but its own tenant.
    if (entry === undefined || entry.tenant !== this.#request.tenant) return [];
    return (this.#request.detail === "full" ? fullRows : summaryRows)({ ...entry, index }, this.#proposerOf);
  }

  #isWanted({ kind, time }: TimelineRow): boolean {
    const { kinds, sinceMs, untilMs } = this.#request;
    if (kinds !== undefined && !kinds.has(kind)) return false;
    const ms = Date.parse(time);
    return (sinceMs === undefined || ms >= sinceMs) && (untilMs === undefined || ms < untilMs);
  }

  /** Each is looked up once a page. */
  readonly #proposerOf: ProposerOf = (entry) => {
    const keys = causeKeys(entry);
    const name = keys.join(" ");
    const known = this.#proposers.get(name);
    if (known !== undefined) return known;
    const proposer = keys.map((key) => this.#actorOf(key)).find((actor) => actor !== undefined) ?? null;
    this.#proposers.set(name, proposer);
    return proposer;
  };

  #actorOf(key: string): string | undefined {
    const found = this.#ledger.find(key);
    const body = found === undefined ? undefined : viewEntry(found.text)?.body;
    return textAt(body, "input", "actor", "id") ?? textAt(body, "data", "actor");
  }
}
