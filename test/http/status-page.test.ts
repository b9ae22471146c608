/** The status page: what it shows, to whom, and that nothing in it can be made to act or to deceive. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Outcome } from "../../src/core/types.ts";
import { chromiumPath, startBrowser, type TestBrowser } from "../support/browser.ts";
import { metricOf, startProcess } from "../support/process.ts";
import { freshId } from "../support/proposals.ts";
import { startRedis, until } from "../support/redis.ts";
import {
  ALLOW,
  DENY,
  escalate,
  type ScriptedSidecar,
  scripted,
  scriptedBundle,
  startScripted,
} from "../support/scripted.ts";
import { type Answer, type Body, KEYS, startSidecar, type TestSidecar } from "../support/sidecar.ts";
import { projectRoot } from "../support/tools.ts";

const CSP =
  "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const basic = (key: string, name = "me") => `Basic ${Buffer.from(`${name}:${key}`).toString("base64")}`;

const look = (holdpoint: Pick<TestSidecar, "send">, key?: string, path = "/status"): Promise<Answer> =>
  holdpoint.send({ port: "admin", path, ...(key === undefined ? {} : { key }) });

/** What a reader sees of a page, without its markup. */
const seen = ({ text }: Answer) =>
  text
    .replace(/<[^>]+>/g, "")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&#96;", "`")
    .replaceAll("&amp;", "&");

const HOSTILE: Body = JSON.parse(`{
  "script": "<script>document.title = 'owned'</script>",
  "image": "\\"><img src=x onerror=\\"document.title = 'owned'\\">",
  "to": "alice\\u202egnp.exe",
  "account": "DE\\u200b89",
  "__proto__": { "polluted": true },
  "constructor": "</pre></details></article><h1>Nothing to see</h1>"
}`);

const withArguments = (args: Body, changes: Body = {}) =>
  scripted(escalate({ quorum: 2 }), { action: { name: "PAY", arguments: args }, ...changes });

let holdpoint: ScriptedSidecar;
let hostile: Body;
let long: Body;
let theirs: Body;

beforeAll(async () => {
  holdpoint = await startScripted({ auth: "api_key", issuer: "payments-gate", actions: { LOOK: { mode: "observe" } } });
  const asked = withArguments(HOSTILE, {
    actor: { id: "support-agent", type: "agent", roles: ["operator"], on_behalf_of: { id: "alice" } },
  });
  hostile = (await holdpoint.decide(asked, KEYS.bot)).body;
  long = (await holdpoint.decide(withArguments({ note: "x".repeat(10_000) }), KEYS.bot)).body;
  theirs = (await holdpoint.decide(withArguments({ secret: "of-the-other-tenant" }), KEYS.other)).body;
  await holdpoint.decide(scripted(ALLOW), KEYS.bot);
  await holdpoint.decide(scripted(DENY), KEYS.bot);
});
afterAll(() => holdpoint.close());

describe("who may see it", () => {
  test("GET / leads to /status", async () => {
    const answer = await look(holdpoint, undefined, "/");
    expect([answer.status, answer.headers.location]).toEqual([303, "/status"]);
  });

  test.each([
    ["no credential", {}, 401, "any name"],
    ["an unknown key", { authorization: basic("nobody") }, 401, "password is your API key"],
    ["a password without a colon", { authorization: `Basic ${btoa(KEYS.olivia)}` }, 401, "any name"],
    ["an agent's key", { authorization: basic(KEYS.bot) }, 403, "not for this page"],
  ])("GET /status with %s is a page that says what to do", async (_, headers, status, words) => {
    const answer = await holdpoint.send({ port: "admin", path: "/status", headers: headers as Record<string, string> });
    expect([answer.status, answer.headers["content-type"]]).toEqual([status, "text/html; charset=utf-8"]);
    expect(answer.headers["www-authenticate"]).toBe(
      status === 401 ? 'Basic realm="holdpoint", charset="UTF-8"' : undefined,
    );
    expect(answer.headers["content-security-policy"]).toBe(CSP);
    expect(seen(answer)).toContain(words);
    expect(answer.text).not.toContain("payments-gate");
    expect(answer.text).not.toContain('http-equiv="refresh"');
  });

  test("GET /status with one wrong key after the other is slowed down, in HTML", async () => {
    const slow = await startSidecar({ bundle: scriptedBundle("now") });
    let answer = await look(slow, "wrong");
    for (let round = 0; round < 40 && answer.status === 401; round += 1) answer = await look(slow, "wrong");
    expect([answer.status, answer.headers["content-type"]]).toEqual([429, "text/html; charset=utf-8"]);
    expect(seen(answer)).toContain("Too many refused keys");
    expect((await look(slow, KEYS.olivia)).status).toBe(200);
    await slow.close();
  });

  test.each([
    ["Basic, any name", { authorization: basic(KEYS.olivia, "whoever") }],
    ["Basic, no name", { authorization: basic(KEYS.pierre, "") }],
    ["Bearer", { authorization: `Bearer ${KEYS.olivia}` }],
  ])("GET /status takes %s", async (_, headers) => {
    expect((await holdpoint.send({ port: "admin", path: "/status", headers })).status).toBe(200);
  });

  test.each([
    ["GET", "/v1/approvals"],
    ["GET", "/v1/policy"],
    ["GET", "/v1/observations"],
    ["GET", "/v1/ledger/entries"],
    ["POST", "/v1/approvals/x/grant"],
    ["POST", "/status"],
  ])("%s %s takes no Basic", async (method, path) => {
    const headers = { authorization: basic(KEYS.olivia) };
    const { status, body } = await holdpoint.send({ port: "admin", method, path, headers });
    expect([status, body.code]).toEqual(path === "/status" ? [404, "route_not_found"] : [401, "unauthenticated"]);
  });

  test("a grant with Basic changes nothing", async () => {
    const { id } = hostile.approval;
    const headers = { authorization: basic(KEYS.olivia) };
    expect((await holdpoint.send({ port: "admin", path: `/v1/approvals/${id}/grant`, body: {}, headers })).status).toBe(
      401,
    );
    const { body } = await look(holdpoint, KEYS.olivia, `/v1/approvals/${id}`);
    expect([body.status, body.reviews]).toEqual(["pending", []]);
  });

  test.each(["/", "/status", "/status.css", "/status.svg"])("%s is not on the decision port", async (path) => {
    expect((await holdpoint.send({ path, key: KEYS.bot })).status).toBe(404);
  });

  test("GET /status shows a tenant what is its own", async () => {
    const page = await look(holdpoint, KEYS.otherReviewer);
    expect(seen(page)).toContain("of-the-other-tenant");
    expect(page.text).toContain(theirs.approval.id);
    expect(page.text).not.toContain(hostile.approval.id);
    expect(page.text).toContain('<span class="count">1</span>');
    const own = await look(holdpoint, KEYS.olivia);
    expect(own.text).not.toContain(theirs.approval.id);
    expect(own.text).toContain('<span class="count">2</span>');
  });
});

describe("what it says", () => {
  test.each(["/", "/status", "/status.css", "/status.svg"])(
    "%s has every header that keeps it to itself",
    async (path) => {
      const { headers } = await look(holdpoint, KEYS.olivia, path);
      expect(headers).toMatchObject({
        "content-security-policy": CSP,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "x-frame-options": "DENY",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
      });
      expect(headers["x-powered-by"]).toBeUndefined();
    },
  );

  test("the page has no script, no style of its own and no other host in it", async () => {
    const { text } = await look(holdpoint, KEYS.olivia);
    expect(text).not.toMatch(/<script|<style|\sstyle=|\son[a-z]+="|https?:/i);
    expect(text).toContain('<meta http-equiv="refresh" content="10">');
    expect((await look(holdpoint, KEYS.olivia, "/status?refresh=off")).text).not.toContain('http-equiv="refresh"');
    expect((await look(holdpoint, KEYS.olivia, "/status?refresh=1")).status).toBe(400);
  });

  test("an approval stands there with all that a reviewer needs", async () => {
    const text = seen(await look(holdpoint, KEYS.olivia));
    const { body: view } = await look(holdpoint, KEYS.olivia, `/v1/approvals/${hostile.approval.id}`);
    for (const said of [
      view.binding_digest,
      view.entity.id,
      `holdpoint approvals grant ${view.id} --digest ${view.binding_digest}`,
      "approval_required",
      "a human must decide",
      "2 reviewers with the role ops_operator",
      "on behalf of alice",
    ])
      expect(text).toContain(said);
    const shown = JSON.stringify(HOSTILE, null, 2).replace("\u202e", "⟨U+202E⟩").replace("\u200b", "⟨U+200B⟩");
    expect(text).toContain(shown);
  });

  test("an envelope says that a grant covers more than the arguments that are shown", async () => {
    const open = await startScripted();
    await open.decide(scripted(escalate({ binding: "envelope", envelope: { schema: { maxProperties: 7 }, uses: 3 } })));
    const page = seen(await look(open, KEYS.olivia));
    expect(page).toMatch(/A grant covers more than these arguments: whatever the schema below\s+accepts, 3 times/);
    expect(page).toContain('"maxProperties": 7');
    await open.close();
  });

  test("long arguments are there in full, behind a click that says how long they are", async () => {
    const page = await look(holdpoint, KEYS.olivia);
    expect(page.text).toMatch(/<details><summary>Exact arguments <span class="quiet">10011 bytes/);
    expect(page.text).toContain("x".repeat(10_000));
    expect(page.text).toContain(long.approval.id);
  });

  test("the policy, the modes, the checks and who is asked for what", async () => {
    const page = await look(holdpoint, KEYS.olivia);
    const { digest } = holdpoint.sidecar.policy.status().active!;
    for (const said of ["payments-gate", "enforce", digest, digest.slice(7, 19), "API key", "not writable", "LOOK"])
      said === "not writable" ? expect(seen(page)).not.toContain(said) : expect(seen(page)).toContain(said);
    expect(page.text).not.toContain("are not authenticated");
    expect(page.text).toMatch(/<rect class="fill-deny"/);
  });

  test("an open port is said out loud", async () => {
    const open = await startSidecar({ bundle: scriptedBundle("now"), admin_auth: "none" });
    const page = seen(await look(open));
    expect(page).toContain("Reviewers are not authenticated");
    expect(page).toContain("Callers are not authenticated");
    expect(page).toContain("Nobody is waiting for you");
    expect(page).toContain("Nothing was decided in the last hour");
    expect(page).toContain("No errors since this sidecar started");
    await open.decide(scripted(escalate()));
    expect(seen(await look(open))).toMatch(
      /approvals grant \S+ --digest sha256:[0-9a-f]{64} --as YOUR_NAME --role ops_operator/,
    );
    await open.close();
  });

  test("without a policy it says so, and what to do", async () => {
    const none = await startSidecar();
    const page = seen(await look(none, KEYS.olivia));
    expect(page).toContain("No policy is loaded");
    expect(page).toContain("not loaded");
    await none.close();
  });

  test("the oldest 50 approvals are listed, and how many there are behind them", async () => {
    const many = await startScripted();
    for (let count = 0; count < 52; count += 1) await many.decide(scripted(escalate()));
    const { text } = await look(many, KEYS.olivia);
    expect(text.match(/<article /g)).toHaveLength(50);
    expect(text).toContain("<strong>2 more</strong>");
    await many.close();
  });

  test("a page has so much room for long arguments, and says which are left out and where they are", async () => {
    const full = await startScripted();
    const asked: Body[] = [];
    for (let count = 0; count < 3; count += 1) {
      const { body } = await full.decide(withArguments({ note: "\u200b".repeat(80_000), count }));
      asked.push(body);
    }
    await full.decide(withArguments({ short: "is always shown" }));
    const { text } = await look(full, KEYS.olivia);
    expect(text.match(/<details><summary>Exact arguments/g)).toHaveLength(1);
    expect(text).toContain(`holdpoint approvals show ${asked[2].approval.id}`);
    expect(text).toContain("which this page has no room left for");
    expect(text).toContain("is always shown");
    await full.close();
  });

  test("where the mode is observe and actions are enforced, it says which", async () => {
    const actions = { "email.send": { mode: "enforce" }, "calendar.read": { mode: "enforce" } };
    const mixed = await startScripted({ mode: "observe", actions });
    const page = seen(await look(mixed, KEYS.olivia));
    expect(page).toContain("observe, but enforced for: email.send, calendar.read");
    expect(page).not.toContain("Nothing is blocked");
    // The other tenant's own mode is not this one's.
    await mixed.close();
    const others = await startScripted({ mode: "observe", actions, tenants: { other: { mode: "enforce" } } });
    expect(seen(await look(others, KEYS.otherReviewer))).toContain("What policy does not allow is stopped");
    expect(seen(await look(others, KEYS.olivia))).toContain("enforced for: email.send, calendar.read");
    await others.close();
    expect(seen(await look(holdpoint, KEYS.olivia))).toContain("is stopped, but only observed for: LOOK");
  });

  test("what ran although policy would have stopped it is not counted as denied", async () => {
    const mixed = await startScripted({ mode: "observe", actions: { PAY: { mode: "enforce" } } });
    for (let count = 0; count < 3; count += 1) {
      await mixed.decide(scripted(DENY, { action: { name: "LOOK", arguments: {} } }));
    }
    const only = await look(mixed, KEYS.olivia);
    expect(seen(only)).toContain("3 would be denied, 0 escalated");
    expect(seen(only)).toContain("would be denied ran all the same");
    expect(seen(only)).not.toContain("does not run");
    await mixed.decide(scripted(DENY));
    await mixed.decide(scripted(escalate(), { action: { name: "LOOK", arguments: {} } }));
    const page = await look(mixed, KEYS.olivia);
    expect(seen(page)).toContain("1 denied, 0 escalated; 3 would be denied, 1 escalated");
    const row = (name: string) => new RegExp(`</span>${name}</span>.*?</th>\\s*<td>(\\d+)</td>`).exec(page.text)?.[1];
    expect(["deny", "would be denied", "escalate", "would be escalated"].map(row)).toEqual(["1", "3", undefined, "1"]);
    expect(page.text).toContain("escalate 1, deny 4; 1 would be escalated, 3 would be denied; at most");
    await mixed.close();
  });

  test("past the third, approvals that wait are folded, and each opens by itself", async () => {
    const many = await startScripted({ admin_auth: "none" });
    for (let count = 0; count < 5; count += 1) await many.decide(scripted(escalate()));
    await many.decide(scripted(escalate({ roles: ["ops/eu"] })));
    await many.decide(scripted(escalate({ roles: ["a", "b"] })));
    const page = await look(many);
    expect(page.text.match(/<details class="folded">/g)).toHaveLength(4);
    expect([...seen(page).matchAll(/--as YOUR_NAME --role (\S+)/g)].map(([, role]) => role)).toEqual(
      ["ops_operator", "ops_operator", "ops_operator", "ops_operator", "ops_operator", "ROLE", "ROLE"].flatMap(
        (role) => [role, role],
      ),
    );
    expect(page.text).not.toContain("all of it in here");
    await many.close();
  });

  test("what observe mode let pass is listed, newest first", async () => {
    const observing = await startSidecar({ bundle: scriptedBundle("now"), mode: "observe" });
    await observing.decide(scripted(ALLOW));
    expect((await look(observing, KEYS.olivia)).text).not.toContain('id="observed"');
    await observing.decide(scripted(DENY));
    await observing.decide(scripted(escalate()));
    const page = await look(observing, KEYS.olivia);
    expect(seen(page)).toContain("Nothing is blocked, unless policy itself enforces an action");
    expect([...page.text.matchAll(/<\/span>(deny|escalate)<\/span><\/td>/g)].map(([, word]) => word)).toEqual([
      "escalate",
      "deny",
    ]);
    expect(page.text).toContain("forbidden_now");
    await observing.close();
  });

  test("a store that is away leaves the rest of the page standing", async () => {
    const redis = await startRedis();
    const away = await startSidecar({ bundle: scriptedBundle("now"), store: redis.url, store_timeout_ms: 200 });
    await away.decide(scripted(ALLOW));
    await redis.stop();
    const page = await look(away, KEYS.olivia);
    expect(page.status).toBe(200);
    expect(seen(page)).toContain("Cannot be read at this moment");
    expect(seen(page)).toContain("silence grants nothing");
    expect(seen(await look(away, KEYS.olivia))).toContain("store_unavailable");
    await away.close();
    await redis.dispose();
  });

  test("a refused policy and refused keys are among the errors, and no key is", async () => {
    const failing = await startSidecar({ bundle: scriptedBundle("now"), auth: "api_key" });
    await failing.decide(scripted(ALLOW), "a-secret-that-is-no-key");
    failing.sidecar.recordOnce("policy_refused", { code: "bundle_invalid", message: "No policy.wasm in it" });
    let page = await look(failing, KEYS.olivia);
    await until(async () => {
      page = await look(failing, KEYS.olivia);
      return page.text.includes("unknown_token");
    }, "the refusal is on the page");
    expect(seen(page)).toContain("Policy refused: No policy.wasm in it");
    expect(page.text).not.toContain("a-secret-that-is-no-key");
    await failing.close();
  });

  test("a clock that was stepped back shows no negative age", async () => {
    const now = vi.spyOn(holdpoint.sidecar.operations, "now").mockReturnValue(new Date(0));
    const page = await look(holdpoint, KEYS.olivia);
    now.mockRestore();
    expect(page.status).toBe(200);
    expect(seen(page)).toContain("waiting 0 s");
    expect(seen(page)).not.toMatch(/-\d+ (s|min|h|d)\b/);
  });

  test("with several workers the page adds up what each decided", async () => {
    const workers = await startProcess({ bundle: scriptedBundle("now"), workers: 2, log_level: "info" });
    // A new connection each time, so that both workers have their share.
    for (let count = 0; count < 20; count += 1) {
      const headers = { connection: "close" };
      await workers.send({ path: "/v1/decisions", body: scripted(count < 15 ? ALLOW : DENY), headers });
    }
    expect(await metricOf(workers, "holdpoint_decisions_total")).toBe(20);
    const { text } = await look(workers, KEYS.olivia);
    expect(text).toContain("Allow 15, compute 0, escalate 0, deny 5;");
    await workers.stop();
  });
});

describe.skipIf(chromiumPath() === undefined)("in a browser", () => {
  const screenshots = join(projectRoot, ".build", "screenshots");
  let browser: TestBrowser;
  beforeAll(async () => {
    mkdirSync(screenshots, { recursive: true });
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());

  interface Watched {
    readonly page: Page;
    readonly requests: string[];
    /** What the browser complained of, refused contents among it. */
    readonly complaints: string[];
  }

  const credentials = { username: "olivia", password: KEYS.olivia };

  async function open(
    options: Parameters<TestBrowser["newContext"]>[0] = {},
    url = holdpoint.adminUrl,
  ): Promise<Watched> {
    const context: BrowserContext = await browser.newContext({ httpCredentials: credentials, ...options });
    const page = await context.newPage();
    const requests: string[] = [];
    const complaints: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("dialog", (dialog) => {
      complaints.push(dialog.message());
      void dialog.dismiss();
    });
    await page.addInitScript(
      "document.addEventListener('securitypolicyviolation', (event) => console.error(event.violatedDirective))",
    );
    await page.goto(url);
    return { page, requests, complaints };
  }

  test("nothing that a caller wrote is executed, nothing is refused, and no other host is asked", async () => {
    const { page, requests, complaints } = await open();
    expect(page.url()).toBe(`${holdpoint.adminUrl}/status`);
    expect(await page.title()).toBe("(2) Status · payments-gate");
    expect(await page.locator("h1").allTextContents()).toEqual(["payments-gate"]);
    expect(await page.locator("article script, article img, [onerror]").count()).toBe(0);
    const shown = await page.locator("article").first().locator("pre.json").first().textContent();
    expect(shown).toContain(`"to": "alice⟨U+202E⟩gnp.exe"`);
    expect(shown).toContain(JSON.stringify(HOSTILE.image));
    expect(shown).toContain('"__proto__": {\n    "polluted": true\n  }');
    expect(await page.locator("mark.unseen").count()).toBe(2);
    expect(complaints).toEqual([]);
    expect(new Set(requests.map((url) => new URL(url).origin))).toEqual(new Set([holdpoint.adminUrl]));
    await page.context().close();
  });

  test("without JavaScript everything is there, long arguments by a click", async () => {
    const { page } = await open({ javaScriptEnabled: false });
    const block = page.locator("article").nth(1).locator("pre.json").first();
    expect(await block.isVisible()).toBe(false);
    await page.locator("article").nth(1).getByText("Exact arguments").click();
    expect(await block.isVisible()).toBe(true);
    expect(await page.getByRole("heading", { name: "Pending approvals" }).isVisible()).toBe(true);
    expect(await page.getByRole("img", { name: /Bars, one for each/ }).isVisible()).toBe(true);
    await page.getByRole("link", { name: "Pause" }).click();
    expect(page.url()).toContain("refresh=off");
    await page.context().close();
  });

  test("a browser without a key sees the page that explains it", async () => {
    const { page } = await open({ httpCredentials: { username: "x", password: KEYS.bot } });
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe("This key is not for this page");
    await page.screenshot({ path: join(screenshots, "status-403.png") });
    await page.context().close();
  });

  describe("as it looks", () => {
    let busy: ScriptedSidecar;
    beforeAll(async () => {
      busy = await startScripted({ actions: { "search.web": { mode: "observe" } }, issuer: "payments-eu-1" });
      await busy.decide(
        scripted(escalate({ roles: ["ops_operator", "treasury"], quorum: 2 }, { risk: "high" }), {
          action: {
            name: "ISSUE_REFUND",
            arguments: { amount: 1250, currency: "EUR", reason: "Parcel lost in transit" },
          },
          actor: {
            id: "support-agent",
            type: "agent",
            roles: ["operator"],
            on_behalf_of: { id: "alice", type: "human" },
          },
          entity: { type: "order", id: "ord-20871" },
        }),
      );
      await busy.decide(withArguments(HOSTILE));
      await busy.decide(withArguments({ note: "x".repeat(10_000) }));
      await busy.decide(
        scripted(DENY, { action: { name: "search.web", arguments: { query: "how to drop a table" } } }),
      );
      busy.sidecar.recordOnce("configuration_refused", { faults: 2 });
      busy.sidecar.activity.answered("store_unavailable");
      decideForAnHour(busy);
    });
    afterAll(() => busy?.close());

    test.each([
      ["light", 1280],
      ["dark", 1280],
      ["light", 390],
      ["dark", 390],
    ] as const)("%s, %i pixels wide: nothing sticks out, and every text can be read", async (colorScheme, width) => {
      const { page } = await open({ colorScheme, viewport: { width, height: 900 } }, busy.adminUrl);
      await page.screenshot({ path: join(screenshots, `status-${colorScheme}-${width}.png`), fullPage: true });
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
      expect(await page.evaluate(POOR_CONTRAST)).toEqual([]);
      await page.context().close();
    });
  });
});

/** An hour's decisions at once, under a clock that stands where they would have been made. */
function decideForAnHour({ sidecar }: TestSidecar): void {
  const now = Date.now();
  const clock = vi.spyOn(Date, "now");
  for (let minute = 59; minute >= 0; minute -= 1) {
    clock.mockReturnValue(now - minute * 60_000);
    const some = (outcome: Outcome, count: number) => {
      for (let index = 0; index < count; index += 1)
        sidecar.activity.decided({
          tenant: "default",
          action: freshId(),
          outcome,
          mode: "enforce",
          reasonCodes: [],
          seconds: 0,
          evaluationSeconds: 0,
        });
    };
    some("allow", 30 + Math.round(18 * Math.sin(minute / 6)));
    some("compute", minute % 4);
    some("escalate", minute % 7 === 0 ? 3 : 0);
    some("deny", minute > 20 && minute < 29 ? 14 : minute % 3);
  }
  clock.mockRestore();
}

/** Texts whose contrast with what is behind them is below WCAG AA (4.5, and 3 for large ones). Runs in the page. */
const POOR_CONTRAST = `(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (texts.currentNode.data.trim() === "" || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgb(style.color)), light(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if ((a + 0.05) / (b + 0.05) < needed) poor.push(element.className + ": " + texts.currentNode.data.trim().slice(0, 40));
  }
  return poor;
})()`;
