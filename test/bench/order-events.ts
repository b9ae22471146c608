/**
 * Histories of orders in an embedded store, written in bulk: by the store's own code for rows, without its commit for each
 * event and without the facts that a ledger has long taken. Such a store differs in nothing else from one that got them one by one.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Key, open } from "lmdb";
import type { AppendEvent, EntityRecord } from "../../src/core/context.ts";
import { sha256Digest } from "../../src/core/digest.ts";
import type { EntityRef } from "../../src/core/types.ts";
import type { IncomingEvent } from "../../src/gate/ingest-event.ts";
import { ContextRows } from "../../src/store/embedded/context-rows.ts";
import { PurgeRows } from "../../src/store/embedded/purge-rows.ts";
import type { Rows } from "../../src/store/embedded/tables.ts";

export const TENANT = "default";
/** A transaction touches nearly every page that claims are in: the fewer, the less is written. Its rows are held in memory. */
const EVENTS_PER_TRANSACTION = 500_000;
const TIME = "2026-11-20T10:00:00.000Z";
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

export interface Histories {
  /** The embedded store goes to `<dataDir>/store`. */
  readonly dataDir: string;
  readonly entities: number;
  readonly eventsEach: number;
  readonly policyDigest: string;
}

export function orderRef(at: number): EntityRef {
  return { type: "order", id: `ord_${at}` };
}

/** The first pays the order, those after it are notes; `sequence` from 1. */
export function orderEvent(order: number, sequence: number): IncomingEvent {
  return {
    id: `evt_${order}_${sequence}`,
    source: "shop",
    type: sequence === 1 ? "ORDER_PAID" : "ORDER_NOTED",
    entity: orderRef(order),
    actor: { id: "shop" },
    time: TIME,
    data: sequence === 1 ? { total: 100 } : { text: "seen" },
  };
}

/** @returns seconds it took */
export async function writeHistories(histories: Histories): Promise<number> {
  const directory = join(histories.dataDir, "store");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const startedAt = performance.now();
  const database = open<string, Key>({ path: directory, encoding: "string", overlappingSync: false, noSync: true });
  const events = histories.entities * histories.eventsEach;
  let chain: EntityRecord["chain"] = "";
  for (let from = 0; from < events; from += EVENTS_PER_TRANSACTION) {
    const gathered = new GatheredRows();
    const rows = new ContextRows(gathered.asRows(), TENANT, new PurgeRows(gathered.asRows(), TENANT));
    for (let at = from; at < Math.min(events, from + EVENTS_PER_TRANSACTION); at += 1) {
      const sequence = (at % histories.eventsEach) + 1;
      const order = Math.floor(at / histories.eventsEach);
      const event = appendedEvent(histories, order, { sequence, chain: sequence === 1 ? "" : chain });
      rows.append(event, Date.now());
      chain = event.after.chain;
    }
    database.transactionSync(() => gathered.putInto(database));
  }
  await database.close();
  return (performance.now() - startedAt) / 1000;
}

/**
 * Rows of one transaction, put in the order of their keys: hashes come in no order, and put as they come each would copy
 * a page of a large tree to the disk again and again.
 */
class GatheredRows {
  readonly #rows = new Map<string, { readonly key: Key; readonly value: string }>();

  /** For code that appends, and so only puts. */
  asRows(): Rows {
    const put = (key: Key, value: string): void => {
      this.#rows.set((key as readonly unknown[]).join(" "), { key, value });
    };
    return { put } as unknown as Rows;
  }

  putInto(database: Rows): void {
    for (const name of [...this.#rows.keys()].sort()) {
      const { key, value } = this.#rows.get(name)!;
      database.put(key, value);
    }
  }
}

function appendedEvent(
  { policyDigest }: Histories,
  order: number,
  { sequence, chain }: { readonly sequence: number; readonly chain: EntityRecord["chain"] },
): AppendEvent {
  const event = orderEvent(order, sequence);
  // Canonical, and put together by hand: ten million go through here. That it is what the gate writes is tried on a sample.
  const { id, data, entity, source, time, type } = event;
  const head = `{"actor":{"id":"shop"},`;
  const said = `"data":${JSON.stringify(data)},"entity":{"id":"${entity.id}","type":"${entity.type}"},`;
  const from = sequence === 1 ? "null" : `"PAID"`;
  const eventText =
    `${head}"applied":true,${said}"from":${from},"id":"${id}","policy_digest":"${policyDigest}","source":"${source}",` +
    `"time":"${time}","to":"PAID","trace_id":"${TRACE_ID}","type":"${type}","version":${sequence}}`;
  return {
    expectedEvents: sequence - 1,
    after: {
      ref: entity,
      state: "PAID",
      version: sequence,
      attributes: sequence === 1 ? { total: 100 } : { notes: sequence - 1, total: 100 },
      events: sequence,
      chain: sha256Digest(`${chain}\n${eventText}`),
    },
    source,
    eventId: id,
    contentDigest: sha256Digest(`${head}${said}"id":"${id}","source":"${source}","time":"${time}","type":"${type}"}`),
    eventText,
  };
}
