/** Another process on the same directory: does what it is told over IPC, one message one answer. */
import type { Settle } from "../../src/core/context.ts";
import type { ConsumePermit, OpenApproval } from "../../src/core/ports.ts";
import { openStore } from "../../src/store/open-store.ts";

export interface SettleTask {
  readonly tenant: string;
  readonly settles: readonly Settle[];
  /** Keeps the permits that it gets, and dies with them. */
  readonly isHolding: boolean;
}

const store = await openStore({ url: "embedded", dataDir: process.argv[2]!, timeoutMs: 20_000 });

/** Says what it got as it gets it. */
async function settleAll({ tenant, settles, isHolding }: SettleTask): Promise<string[]> {
  const kinds = settles.map(async (request) => {
    const { kind } = await store.settle(tenant, request);
    if (kind !== "settled") return kind;
    process.send!({ settled: request.jti });
    if (isHolding) return "held";
    const about = { action: "REFUND", decisionId: "dec_1", traceId: "4bf9", consumer: "bot" };
    const use = await store.consumePermit({ tenant, jti: request.jti, approvalId: undefined, ...about });
    return use.kind;
  });
  return Promise.all(kinds);
}

process.on(
  "message",
  async (message: {
    readonly uses?: readonly ConsumePermit[];
    readonly opens?: readonly OpenApproval[];
    readonly settle?: SettleTask;
  }) => {
    if (message.settle !== undefined) {
      process.send!(await settleAll(message.settle));
      return;
    }
    const consumed = await Promise.all((message.uses ?? []).map((use) => store.consumePermit(use)));
    const opened = await Promise.all((message.opens ?? []).map((request) => store.openApproval(request)));
    process.send!([...consumed, ...opened].map((result) => result.kind));
  },
);
process.send!("ready");
