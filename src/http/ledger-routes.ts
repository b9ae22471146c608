/** Reading the ledger: its head, its signed checkpoint, its entries. Operators of the sidecar see entries of their tenant. */
import { Router } from "express";
import { InvalidRequestError, NotFoundError } from "../core/errors.ts";
import type { Ledger } from "../core/ports.ts";
import type { JsonObject, Tenant } from "../core/types.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendText } from "./exchange.ts";
import { ENTRIES_PAGE, INDEX } from "./request-schemas.ts";

/** Characters of entries in one answer; the page ends early, and `next` says where to go on. */
const PAGE_CHARS_MAX = 4 * 1024 * 1024;
/** Entries are read by the handful, so that a page never holds much more than it answers. */
const READ_AT_ONCE = 16;

export function ledgerRoutes(http: HttpContext, ledger: Ledger): Router {
  const router = Router();
  router.get("/v1/ledger/checkpoint", async (request, response) => {
    await http.authenticator.operator(request);
    sendText(response, 200, ledger.checkpoint(), "text/plain; charset=utf-8");
  });
  router.get("/v1/ledger/entries", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const query = queryOf(request);
    const start = startOf(queryValue(query, "start"));
    const entries = page(ledger, { start, limit: queryLimit(query, ENTRIES_PAGE), tenant });
    const { size } = ledger.head();
    const next = Math.min(start + entries.length, size);
    sendText(response, 200, `{"entries":[${entries.join(",")}],"next":${next},"size":${size}}`);
  });
  router.get("/v1/ledger/entries/:index", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const index = startOf(request.params.index);
    const text = ledger.read(index);
    if (text === undefined || !isVisible(tenant, text)) {
      throw new NotFoundError("entry_not_found", `No entry ${index} of this tenant`);
    }
    sendText(response, 200, `{"index":${index},"entry":${text}}`);
  });
  return router;
}

/** INVARIANT (isolated): another tenant's entry has a place in the log, and nothing else that this tenant may see. */
function isVisible(tenant: Tenant, text: string): boolean {
  const entry = JSON.parse(text) as JsonObject;
  return entry.tenant === tenant || entry.tenant === "";
}

/** At least one entry, where there is one; the texts are those that are hashed. */
function page(
  ledger: Ledger,
  of: { readonly start: number; readonly limit: number; readonly tenant: Tenant },
): string[] {
  const texts: string[] = [];
  let chars = 0;
  while (texts.length < of.limit && chars < PAGE_CHARS_MAX) {
    const wanted = Math.min(READ_AT_ONCE, of.limit - texts.length);
    const entries = ledger.entries(of.start + texts.length, wanted);
    for (const { index, text } of entries) {
      if (chars >= PAGE_CHARS_MAX) break;
      chars += text.length;
      texts.push(`{"index":${index},"entry":${isVisible(of.tenant, text) ? text : "null"}}`);
    }
    if (entries.length < wanted) break;
  }
  return texts;
}

function startOf(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!INDEX.test(text)) throw new InvalidRequestError("invalid_request", "Expected the index of an entry");
  return Number(text);
}
