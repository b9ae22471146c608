/** The scripted agent, its executor and a reviewer: HTTP clients that show what they send and get. */
import type { DemoSidecar } from "./demo-sidecar.ts";
import type { Stage } from "./stage.ts";

type Body = Record<string, unknown>;

export interface ShownDecision {
  readonly outcome: string;
  readonly observed: string | undefined;
  readonly enforced: boolean;
  /** The first reason's. */
  readonly code: string | undefined;
  readonly permit: string | undefined;
  readonly permitId: string | undefined;
  readonly approvalId: string | undefined;
  readonly bindingDigest: string;
  readonly arguments: Body;
  readonly proposal: Body;
}

export interface ShownPermit {
  readonly valid: boolean;
  readonly code: string | undefined;
  readonly observedCode: string | undefined;
}

export class Actors {
  readonly #sidecar: DemoSidecar;
  readonly #stage: Stage;
  #audited = 0;

  constructor(sidecar: DemoSidecar, stage: Stage) {
    this.#sidecar = sidecar;
    this.#stage = stage;
  }

  async propose(proposal: Body): Promise<ShownDecision> {
    const { body } = await this.#agent("POST", "/v1/decisions", proposal);
    const reasons = (body.reasons ?? []) as { code: string; message: string }[];
    const shown: ShownDecision = {
      outcome: String(body.outcome),
      observed: body.observed_outcome as string | undefined,
      enforced: body.enforced === true,
      code: reasons[0]?.code,
      permit: body.permit as string | undefined,
      permitId: body.permit_id as string | undefined,
      approvalId: (body.approval as { id: string } | undefined)?.id,
      bindingDigest: String(body.binding_digest),
      arguments: (body.action as { arguments: Body } | undefined)?.arguments ?? {},
      proposal,
    };
    const action = proposal.action as { name: string; arguments: Body };
    const would = shown.observed === undefined ? "" : ` (would be ${this.#stage.outcome(shown.observed)})`;
    const why = reasons.map((reason) => `${reason.code}: ${reason.message}`).join("; ");
    this.#stage.say(`agent proposes ${action.name} ${JSON.stringify(action.arguments)}`);
    this.#stage.say(`  → ${this.#stage.outcome(shown.outcome)}${would}${why === "" ? "" : `  ${why}`}`);
    if (shown.outcome === "compute") this.#stage.say(`    run instead: ${JSON.stringify(shown.arguments)}`);
    return shown;
  }

  /** @param args what the executor is about to run, where it is not what was decided */
  async consume(decision: ShownDecision, args = decision.arguments): Promise<ShownPermit> {
    const { action, actor, entity } = decision.proposal as { action: Body; actor: { id: string }; entity?: Body };
    const { body } = await this.#agent("POST", "/v1/permits/consume", {
      permit: decision.permit,
      action: { name: action.name, arguments: args },
      actor: { id: actor.id },
      ...(entity === undefined ? {} : { entity }),
    });
    const observed = body.observed as { code: string } | undefined;
    const shown = { valid: body.valid === true, code: body.code as string | undefined, observedCode: observed?.code };
    const note = shown.code ?? (observed === undefined ? "" : `would be refused: ${observed.code}`);
    this.#stage.say(`executor shows the permit for ${JSON.stringify(args)}`);
    this.#stage.say(
      `  → ${shown.valid ? this.#stage.colour("green", "VALID") : this.#stage.colour("red", "REFUSED")}  ${note}`,
    );
    return shown;
  }

  async report(decision: ShownDecision, status: string): Promise<{ readonly status: unknown }> {
    const { body } = await this.#agent("POST", "/v1/executions", {
      permit_id: decision.permitId,
      status,
      result: { reference: "re_1" },
    });
    return { status: body.status };
  }

  async review(decision: ShownDecision, verdict: "grant" | "deny", reason: string): Promise<void> {
    const echo = verdict === "grant" ? { binding_digest: decision.bindingDigest } : {};
    const path = `/v1/approvals/${decision.approvalId}/${verdict}`;
    const { body } = await this.#request(this.#sidecar.admin, this.#sidecar.reviewerKey, {
      method: "POST",
      path,
      body: { reason, ...echo },
    });
    const approval = body.approval as { status: string } | undefined;
    this.#stage.say(`reviewer olivia: ${verdict} (“${reason}”) → ${approval?.status ?? JSON.stringify(body)}`);
  }

  async waitFor(decision: ShownDecision): Promise<{ readonly status: unknown }> {
    const { body } = await this.#agent("GET", `/v1/approvals/${decision.approvalId}?wait=30s`);
    return { status: body.status };
  }

  /** What the ledger took down since the last time. */
  async audit(): Promise<void> {
    const path = `/v1/ledger/entries?start=${this.#audited}`;
    const { body } = await this.#request(this.#sidecar.admin, this.#sidecar.reviewerKey, { method: "GET", path });
    for (const { index, entry } of body.entries as { index: number; entry: Body }[]) {
      this.#stage.record(`${String(index).padStart(3)} ${String(entry.time).slice(11, 23)} ${summary(entry)}`);
    }
    this.#audited = body.next as number;
  }

  #agent(method: string, path: string, body?: Body) {
    return this.#request(this.#sidecar.decisions, this.#sidecar.agentKey, {
      method,
      path,
      ...(body === undefined ? {} : { body }),
    });
  }

  async #request(
    base: string,
    key: string,
    of: { readonly method: string; readonly path: string; readonly body?: Body },
  ): Promise<{ readonly status: number; readonly body: Body }> {
    const headers: Record<string, string> = { authorization: `Bearer ${key}` };
    if (of.body !== undefined) headers["content-type"] = "application/json";
    const init =
      of.body === undefined
        ? { method: of.method, headers }
        : { method: of.method, headers, body: JSON.stringify(of.body) };
    const response = await fetch(base + of.path, init);
    return { status: response.status, body: (await response.json()) as Body };
  }
}

function summary(entry: Body): string {
  const kind = String(entry.kind).padEnd(19);
  if (entry.kind === "decision") {
    const decision = entry.decision as {
      outcome: string;
      observed_outcome?: string;
      action: { name: string };
      reasons: { code: string }[];
    };
    const would = decision.observed_outcome === undefined ? "" : ` (would ${decision.observed_outcome})`;
    return `${kind} ${decision.action.name} ${decision.outcome}${would} ${decision.reasons.map((reason) => reason.code).join(", ")}`;
  }
  const data = entry.data as Body;
  const approval = data.approval as { status: string; action: { name: string } } | undefined;
  const detail =
    approval === undefined
      ? [data.action, data.code ?? data.status ?? data.digest]
      : [approval.action.name, approval.status];
  return `${kind} ${detail.filter((part) => part !== undefined).join(" ")}`;
}
