/** `holdpoint events send`: say what happened, from a file or a pipe. */
import type { Json, JsonObject } from "../../core/types.ts";
import { ADMIN_OPTIONS, type AdminClient, type Hints, openAdminClient } from "../admin-client.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { type FileEvent, readEvents } from "../read-events.ts";
import { nameOf, readInput } from "../read-input.ts";
import { jsonPretty, plural, shown, spoken } from "../terminal.ts";
import { writeError, writeLines, writeOut } from "../write-out.ts";

const INPUT_BYTES_MAX = 64 << 20;
/** Of a long list of what went wrong. */
const TOLD_MAX = 100;
/** Progress is told so often at most. */
const PROGRESS_LINES_MAX = 20;

const HINTS: Hints = new Map([
  ["forbidden", "The key lacks the scope ingest"],
  ["store_unavailable", "Send the file again later: what is on record by then is only repeated"],
  ["ledger_unavailable", "Send the file again later: what is on record by then is only repeated"],
]);

export const eventsSendCommand = defineCommand({
  name: "events send",
  words: { usage: "FILE|-", min: 1, max: 1 },
  options: { ...ADMIN_OPTIONS, ...JSON_OPTION },
  details: `FILE (or - for standard input) holds one event, an array of events, or one event a line (JSON Lines), of at most
${INPUT_BYTES_MAX >> 20} MiB. They are sent in their order, in batches as large as the sidecar takes. Sending them again is safe: an event is
known by its source and id, and the same one is only repeated. An event that leads nowhere from its entity's state is
recorded, and moves nothing.
Exit code 1 where an event was refused. Needs a key with the scope ingest.

  {"id": "evt_1", "source": "shop", "type": "ORDER_PAID", "entity": {"type": "order", "id": "ord_002"},
   "actor": {"id": "stripe"}, "time": "2026-11-20T10:00:00Z", "data": {"amount": 49}}`,
  examples: [
    "HOLDPOINT_KEY=… holdpoint events send events.jsonl",
    "jq -c '.[] | {id, source: \"shop\", type, entity, actor, time, data}' export.json | holdpoint events send -",
    "holdpoint events send event.json --json | jq '.events[0].state'",
  ],
  run: async (invocation) => {
    const path = invocation.words[0]!;
    const bytes = await readInput(path, INPUT_BYTES_MAX);
    const admin = await openAdminClient(invocation, HINTS);
    const limits = await limitsOf(admin);
    const events = readEvents(bytes, { name: nameOf(path), depthMax: limits.depth });
    const sending = await sendAll(admin, events, limits);
    if (invocation.options.json) await writeOut(`${jsonPretty(document(sending))}\n`);
    else await writeLines(events.length === 0 ? emptyLines(nameOf(path)) : lines(sending));
    return sending.failed.length === 0 ? EXIT.done : EXIT.failed;
  },
});

interface Limits {
  readonly bytes: number;
  readonly batch: number;
  readonly depth: number;
}

async function limitsOf(admin: AdminClient): Promise<Limits> {
  const limits = (await admin.get("/openapi.json"))["x-holdpoint-limits"] as JsonObject | undefined;
  const [bytes, batch, depth] = [limits?.body_bytes_max, limits?.batch_max, limits?.depth_max];
  if (typeof bytes !== "number" || typeof batch !== "number" || typeof depth !== "number" || batch < 1)
    throw new CommandError("wrong_protocol", `${admin.address} does not say how much it takes at once`);
  return { bytes, batch, depth };
}

interface Result {
  readonly event: FileEvent;
  readonly answer: JsonObject;
}

interface Sending {
  readonly total: number;
  readonly results: readonly Result[];
  readonly failed: readonly Result[];
}

const isFailed = ({ answer }: Result) => typeof answer.code === "string";

/** Ends after a batch in which something was out: later events would overtake those that are missing. */
async function sendAll(admin: AdminClient, events: readonly FileEvent[], limits: Limits): Promise<Sending> {
  const results: Result[] = [];
  const batches = batchesOf(events, limits);
  const step = Math.max(1, Math.ceil(batches.length / PROGRESS_LINES_MAX));
  for (const [index, batch] of batches.entries()) {
    const answers = await sendBatch(admin, batch, { sent: results.length, total: events.length });
    results.push(...answers);
    const isTold = batches.length > 1 && ((index + 1) % step === 0 || index === batches.length - 1);
    if (isTold) await writeError(`holdpoint: ${results.length} of ${plural(events.length, "event")} sent\n`);
    if (answers.some(({ answer }) => Number(answer.status) >= 500)) break;
  }
  return { total: events.length, results, failed: results.filter(isFailed) };
}

async function sendBatch(
  admin: AdminClient,
  batch: readonly FileEvent[],
  { sent, total }: { readonly sent: number; readonly total: number },
): Promise<readonly Result[]> {
  try {
    const { events } = await admin.post("/v1/events", { events: batch.map(({ value }) => value) });
    if (!Array.isArray(events) || events.length !== batch.length)
      throw new CommandError("wrong_protocol", "The answer does not say what became of each event");
    return batch.map((event, index) => ({ event, answer: (events as readonly JsonObject[])[index]! }));
  } catch (thrown) {
    if (!(thrown instanceof CommandError) || sent === 0) throw thrown;
    const before = `${sent} of ${total} events were sent before. Send the file again: what is on record is only repeated`;
    throw new CommandError(thrown.code, thrown.message, { hints: [before, ...thrown.hints], cause: thrown });
  }
}

const AROUND = Buffer.byteLength('{"events":[]}');

/** @throws CommandError before anything is sent, where one event is more than the sidecar takes */
function batchesOf(events: readonly FileEvent[], limits: Limits): readonly (readonly FileEvent[])[] {
  const batches: FileEvent[][] = [];
  let bytes = 0;
  for (const event of events) {
    const size = Buffer.byteLength(JSON.stringify(event.value)) + 1;
    if (AROUND + size > limits.bytes)
      throw new CommandError("body_too_large", `${event.place} has ${size} bytes, the sidecar takes ${limits.bytes}`, {
        exitCode: EXIT.usage,
        hints: ["Nothing was sent. An event's data is what the domain folds, and not the whole of what happened"],
      });
    const last = batches.at(-1);
    const isFull = last === undefined || last.length >= limits.batch || AROUND + bytes + size > limits.bytes;
    if (isFull) batches.push([event]);
    else last.push(event);
    bytes = isFull ? size : bytes + size;
  }
  return batches;
}

function document({ total, results, failed }: Sending): Json {
  const events = results.map(({ answer }, index) => ({ index, ...answer, ...ownPointer(answer) }));
  return { total, sent: results.length, failed: failed.length, events } as unknown as Json;
}

/** Into the event, and not into the batch that it happened to be sent in. */
function ownPointer({ pointer }: JsonObject): { readonly pointer?: string } {
  return typeof pointer === "string" ? { pointer: pointer.replace(/^\/events\/[0-9]+/, "") } : {};
}

function emptyLines(name: string): string[] {
  return [
    `${name} holds no events: nothing was sent.`,
    "Expected one event, an array of them, or one a line; holdpoint events send --help shows one.",
  ];
}

function lines({ total, results, failed }: Sending): string[] {
  const good = results.filter((result) => !isFailed(result));
  const repeated = good.filter(({ answer }) => answer.repeated === true);
  const idle = good.filter(({ answer }) => answer.repeated !== true && answer.applied === false);
  const counts = [
    `${good.length - repeated.length - idle.length} counted`,
    ...(idle.length === 0 ? [] : [`${idle.length} led nowhere`]),
    ...(repeated.length === 0 ? [] : [`${repeated.length} on record before`]),
    ...(failed.length === 0 ? [] : [`${failed.length} refused`]),
  ];
  const told = results.filter((result) => isFailed(result) || idle.includes(result));
  const more = told.length <= TOLD_MAX ? [] : [`  … and ${told.length - TOLD_MAX} more; --json has them all`];
  const left = total - results.length;
  const rest = left === 0 ? [] : [`${plural(left, "event")} not sent: later ones must not overtake those that failed.`];
  const again = "Send the file again when the sidecar has recovered: what is on record is only repeated.";
  return [
    `${plural(results.length, "event")}: ${counts.join(", ")}`,
    ...told.slice(0, TOLD_MAX).map(line),
    ...more,
    ...(left === 0 ? [] : [...rest, again]),
  ];
}

function line({ event, answer }: Result): string {
  if (!isFailed({ event, answer })) {
    const message = (answer.refusal as JsonObject | undefined)?.message;
    return `  ${event.place}: led nowhere: ${spoken(String(message ?? ""))}`;
  }
  const { pointer } = ownPointer(answer);
  const at = pointer === undefined || pointer === "" ? "" : ` at ${shown(pointer)}`;
  return `  ${event.place}: ${shown(String(answer.code))}${at}: ${spoken(String(answer.detail ?? ""))}`;
}
