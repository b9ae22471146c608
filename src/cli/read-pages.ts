/** A list of the admin port, page by page up to a limit. */
import type { Json, JsonObject } from "../core/types.ts";
import type { AdminClient } from "./admin-client.ts";
import { CommandError } from "./command.ts";

export interface Listing {
  readonly path: string;
  /** Of the answer: the list. */
  readonly member: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Items altogether. */
  readonly limit: number;
  /** Items that the port answers at once. */
  readonly pageMax: number;
}

/** @throws CommandError */
export async function readPages(admin: AdminClient, of: Listing): Promise<Json[]> {
  const { path, member, query, limit, pageMax } = of;
  const items: Json[] = [];
  let cursor: string | undefined;
  do {
    const size = Math.min(pageMax, limit - items.length);
    const answer: JsonObject = await admin.get(path, { ...query, limit: size, cursor });
    const page = answer[member];
    if (!Array.isArray(page)) throw new CommandError("wrong_protocol", `The answer has no ${member}`);
    items.push(...(page as Json[]));
    cursor = typeof answer.cursor === "string" ? answer.cursor : undefined;
  } while (cursor !== undefined && items.length < limit);
  return items;
}
