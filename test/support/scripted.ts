/**
 * Sidecars whose policy answers what the test says. The policy is compiled Rego like any other: it returns what it finds in
 * the proposal, first of these that is there:
 *
 *   context.granted            while a grant is in the input
 *   action.arguments.answer    so that edited and rewritten arguments speak for themselves
 *   context.<page>
 *
 * Two such policies exist, one for each page, `now` and `later`: what a proposal says under `later` is what policy will
 * answer once it has changed.
 */
import { copyFileSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileBundle } from "./bundles.ts";
import { freshId } from "./proposals.ts";
import { type Body, startSidecar, type TestSidecar } from "./sidecar.ts";

export type Page = "now" | "later";

const compiled = new Map<Page, string>();

export function scriptedBundle(page: Page): string {
  const known = compiled.get(page);
  if (known !== undefined) return known;
  const bundle = compileBundle(`
default decision := {"outcome": "deny", "reasons": [{"code": "unscripted", "message": "nothing was said"}]}

decision := answers[0]

answers := array.concat(
  [answer | input.approval != null; answer := input.context.granted],
  array.concat(
    [answer | answer := input.action.arguments.answer],
    [answer | answer := input.context.${page}],
  ),
)`);
  compiled.set(page, bundle);
  return bundle;
}

export interface ScriptedSidecar extends TestSidecar {
  /** Puts the other page in force, or the first one again. */
  turnTo(page: Page): Promise<void>;
  /** Proposes, has it granted, and proposes again: an answer that carries a permit. */
  grant(proposal: Body, keys?: readonly string[]): Promise<Body>;
}

export async function startScripted(settings: Record<string, unknown> = {}): Promise<ScriptedSidecar> {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-scripted-"));
  const bundle = join(directory, "bundle.tar.gz");
  const put = (page: Page) => {
    copyFileSync(scriptedBundle(page), `${bundle}.aside`);
    renameSync(`${bundle}.aside`, bundle);
  };
  put("now");
  const holdpoint = await startSidecar({ bundle, ...settings });
  return {
    ...holdpoint,
    turnTo: async (page) => {
      put(page);
      await holdpoint.sidecar.policy.reload();
    },
    grant: async (proposal, keys = [undefined as unknown as string]) => {
      const { body } = await holdpoint.decide(proposal);
      for (const key of keys) {
        const { status, text } = await holdpoint.review(body.approval?.id, "grant", {}, key);
        if (status !== 200) throw new Error(`Not granted: ${text}`);
      }
      return (await holdpoint.decide(proposal)).body;
    },
    close: async () => {
      await holdpoint.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export const ALLOW = { outcome: "allow" };
export const PERMIT = { outcome: "allow", permit: { required: true } };
export const DENY = { outcome: "deny", reasons: [{ code: "forbidden_now", message: "policy says no" }] };

export const escalate = (approval: Body = {}, more: Body = {}): Body => ({
  outcome: "escalate",
  reasons: [{ code: "approval_required", message: "a human must decide" }],
  approval: { roles: ["ops_operator"], ...approval },
  ...more,
});

export const rewrite = (args: Body): Body => ({ outcome: "compute", arguments: args });

/** A proposal with a binding of its own; `now` is what policy answers. */
export function scripted(now: Body, changes: Body = {}): Body {
  const { context = {}, ...rest } = changes;
  const id = freshId("s");
  return {
    id,
    action: { name: "PAY", arguments: { amount: 5 } },
    actor: { id: "support-agent", type: "agent", roles: ["operator"] },
    entity: { type: "order", id: `ord-${id}` },
    context: { now, ...context },
    ...rest,
  };
}

/** The same action in the same context, asked for anew. */
export const again = (proposal: Body, changes: Body = {}): Body => ({ ...proposal, id: freshId("s"), ...changes });
