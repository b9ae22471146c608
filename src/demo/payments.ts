/** What issues refunds: an HTTP executor in the demo's own process. It pays nothing, and counts how often it was called. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Payments {
  readonly url: string;
  readonly calls: () => number;
  stop(): void;
}

export async function startPayments(): Promise<Payments> {
  let calls = 0;
  const server = createServer(async (request, response) => {
    calls += 1;
    let text = "";
    for await (const chunk of request) text += chunk;
    const { action } = JSON.parse(text) as { action: { name: string; arguments: { amount: number } } };
    const message = `refund of $${action.arguments.amount.toFixed(2)} issued`;
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ message, reference: `re_${calls}` }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/refunds`,
    calls: () => calls,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
