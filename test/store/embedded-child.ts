/** Another process on the same directory: does what it is told over IPC, one message one answer. */

import type { ConsumePermit, OpenApproval } from "../../src/core/ports.ts";
import { openStore } from "../../src/store/open-store.ts";

const store = await openStore({ url: "embedded", dataDir: process.argv[2]!, timeoutMs: 20_000 });
process.on(
  "message",
  async (message: { readonly uses?: readonly ConsumePermit[]; readonly opens?: readonly OpenApproval[] }) => {
    const consumed = await Promise.all((message.uses ?? []).map((use) => store.consumePermit(use)));
    const opened = await Promise.all((message.opens ?? []).map((request) => store.openApproval(request)));
    process.send!([...consumed, ...opened].map((result) => result.kind));
  },
);
process.send!("ready");
