/** Reading the ledger: its head, its signed checkpoint, its entries. Operators of the sidecar see entries of their tenant. */
import { Router } from "express";
import { InvalidRequestError, NotFoundError } from "../core/errors.ts";
import type { Ledger } from "../core/ports.ts";
import type { JsonObject, Tenant } from "../core/types.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendJson, sendText } from "./exchange.ts";

const PAGE_DEFAULT = 100;
const PAGE_MAX = 1_000;

export function ledgerRoutes(http: HttpContext, ledger: Ledger): Router {
  const router = Router();
  router.get("/v1/ledger/checkpoint", (request, response) => {
    http.authenticator.operator(request);
    sendText(response, 200, ledger.checkpoint(), "text/plain; charset=utf-8");
  });
  router.get("/v1/ledger/entries", (request, response) => {
    const { tenant } = http.authenticator.operator(request);
    const query = queryOf(request);
    const start = startOf(queryValue(query, "start"));
    const entries = ledger.entries(start, queryLimit(query, PAGE_DEFAULT, PAGE_MAX));
    const next = start + entries.length;
    sendJson(response, {
      entries: entries.map(({ index, text }) => ({ index, entry: visible(tenant, text) })),
      next,
      size: ledger.head().size,
    });
  });
  router.get("/v1/ledger/entries/:index", (request, response) => {
    const { tenant } = http.authenticator.operator(request);
    const index = startOf(request.params.index);
    const text = ledger.read(index);
    const entry = text === undefined ? null : visible(tenant, text);
    if (entry === null) throw new NotFoundError("entry_not_found", `No entry ${index} of this tenant`);
    sendJson(response, { index, entry });
  });
  return router;
}

/** INVARIANT (isolated): another tenant's entry has a place in the log, and nothing else that this tenant may see. */
function visible(tenant: Tenant, text: string): JsonObject | null {
  const entry = JSON.parse(text) as JsonObject;
  return entry.tenant === tenant || entry.tenant === "" ? entry : null;
}

function startOf(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidRequestError("invalid_request", "Expected the index of an entry");
  return Number(text);
}
