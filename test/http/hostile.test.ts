/** Texts from outside, malformed and merely odd. Refused ones get a 4xx with a code, a place and "deny"; odd ones are decided. */
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import { freshId, refund, writeFile } from "../support/proposals.ts";
import { type Answer, type Body, KEYS, startSidecar, type TestSidecar } from "../support/sidecar.ts";

let holdpoint: TestSidecar;
let observing: TestSidecar;
beforeAll(async () => {
  holdpoint = await startSidecar({ bundle: examplesBundle() });
  observing = await startSidecar({ bundle: examplesBundle(), mode: "observe" });
});
afterAll(async () => {
  await holdpoint.close();
  await observing.close();
});

const text = (changes: Record<string, string>) => {
  const members: Record<string, string> = {
    id: JSON.stringify(freshId()),
    action: '{"name":"fs.write_file","arguments":{"path":"/tmp/a","content":"x"}}',
    actor: '{"id":"a","roles":["operator"]}',
    ...changes,
  };
  return `{${Object.entries(members)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `"${key}":${value}`)
    .join(",")}}`;
};

function expectRefusal(
  answer: Answer,
  expected: { status?: number; code: string; pointer?: string | undefined },
): void {
  expect(answer.body).toMatchObject({ code: expected.code, outcome: "deny", mode: "enforce", enforced: true });
  expect(answer.status).toBe(expected.status ?? 400);
  expect(answer.headers["content-type"]).toBe("application/problem+json");
  expect(answer.body).toMatchObject({
    type: `urn:holdpoint:problem:${expected.code}`,
    trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
  if (expected.pointer !== undefined) expect(answer.body.pointer).toBe(expected.pointer);
}

const long = (count: number) => JSON.stringify("a".repeat(count));
const nested = (depth: number) => `{"deep":${"[".repeat(depth)}${"]".repeat(depth)}}`;

const REFUSED: readonly (readonly [name: string, body: string, code: string, pointer?: string | undefined])[] = [
  ["nothing", "", "malformed_json", ""],
  ["half an object", '{"id":', "malformed_json", "/id"],
  ["two values", `${text({})} {}`, "malformed_json"],
  ["a comment", `/* */${text({})}`, "malformed_json"],
  ["single quotes", "{'id':1}", "malformed_json"],
  ["a trailing comma", `${text({}).slice(0, -1)},}`, "malformed_json"],
  ["NaN", text({ context: '{"a":NaN}' }), "malformed_json", "/context/a"],
  ["a raw line break in a string", text({ context: '{"a":"x\ny"}' }), "malformed_json", "/context/a"],
  ["a duplicate key", text({ context: '{"a":1,"a":1}' }), "duplicate_key", "/context/a"],
  ["a duplicate key with an escape", text({ context: '{"a":1,"\\u0061":1}' }), "duplicate_key", "/context/a"],
  ["a duplicate key deep down", text({ context: '{"x":[{"y":{"z":1,"z":2}}]}' }), "duplicate_key", "/context/x/0/y/z"],
  ["a duplicate __proto__", text({ context: '{"__proto__":1,"__proto__":2}' }), "duplicate_key", "/context/__proto__"],
  ["a duplicate member", `${text({}).slice(0, -1)},"actor":{"id":"b"}}`, "duplicate_key", "/actor"],
  [
    "an integer past 2^53",
    text({ action: '{"name":"x","arguments":{"amount":9007199254740993}}' }),
    "inexact_number",
    "/action/arguments/amount",
  ],
  ["a long integer", text({ context: '{"n":12345678901234567890}' }), "inexact_number", "/context/n"],
  ["too many digits", text({ context: '{"n":0.10000000000000001}' }), "inexact_number", "/context/n"],
  [
    "a number past the largest",
    text({ action: '{"name":"x","arguments":{"amount":1e400}}' }),
    "inexact_number",
    "/action/arguments/amount",
  ],
  ["a number below the smallest", text({ context: '{"n":1e-400}' }), "inexact_number", "/context/n"],
  ["a lone surrogate", text({ context: '{"a":"\\ud83d"}' }), "ill_formed_unicode", "/context/a"],
  ["a lone surrogate in a key", text({ context: '{"\\udc00":1}' }), "ill_formed_unicode"],
  ["nesting past the limit", text({ context: nested(63) }), "depth_exceeded"],
  ["nesting far past the limit", text({ context: nested(100_000) }), "depth_exceeded"],
  ["an array", "[]", "invalid_request", ""],
  ["null", "null", "invalid_request", ""],
  ["a string", '"x"', "invalid_request", ""],
  ["no id", text({ id: "" }), "invalid_request", "/id"],
  ["no action", text({ action: "" }), "invalid_request", "/action"],
  ["no actor", text({ actor: "" }), "invalid_request", "/actor"],
  ["no action name", text({ action: '{"arguments":{}}' }), "invalid_request", "/action/name"],
  ["no arguments", text({ action: '{"name":"x"}' }), "invalid_request", "/action/arguments"],
  ["arguments null", text({ action: '{"name":"x","arguments":null}' }), "invalid_request", "/action/arguments"],
  ["arguments an array", text({ action: '{"name":"x","arguments":[]}' }), "invalid_request", "/action/arguments"],
  ["an unknown member", text({ tenant: '"other"' }), "invalid_request", "/tenant"],
  ["an unknown member of actor", text({ actor: '{"id":"a","admin":true}' }), "invalid_request", "/actor/admin"],
  [
    "a member named __proto__",
    text({ __proto__x: "1" }).replace("__proto__x", "__proto__"),
    "invalid_request",
    "/__proto__",
  ],
  ["an empty id", text({ id: '""' }), "invalid_request", "/id"],
  ["an id that is a number", text({ id: "1" }), "invalid_request", "/id"],
  ["an id one too long", text({ id: long(257) }), "invalid_request", "/id"],
  ["a name one too long", text({ action: `{"name":${long(257)},"arguments":{}}` }), "invalid_request", "/action/name"],
  ["an id with braces", text({ id: '"a{b}"' }), "invalid_request", "/id"],
  ["an id with a space", text({ id: '"a b"' }), "invalid_request", "/id"],
  ["an id with NUL", text({ id: '"a\\u0000"' }), "invalid_request", "/id"],
  ["an id with a line break", text({ id: '"a\\nb"' }), "invalid_request", "/id"],
  ["an id with a right-to-left override", text({ id: '"a\\u202eb"' }), "invalid_request", "/id"],
  ["an id with a filler that nobody sees", text({ id: '"a\\u3164"' }), "invalid_request", "/id"],
  ["an id with a variation selector", text({ id: '"a\\ufe0f"' }), "invalid_request", "/id"],
  ["an id with a zero-width space", text({ id: '"a\\u200b"' }), "invalid_request", "/id"],
  ["an entity without id", text({ entity: '{"type":"order"}' }), "invalid_request", "/entity/id"],
  ["an entity with braces", text({ entity: '{"type":"order","id":"{x}"}' }), "invalid_request", "/entity/id"],
  ["an entity null", text({ entity: "null" }), "invalid_request", "/entity"],
  ["a context that is no object", text({ context: "[]" }), "invalid_request", "/context"],
  ["roles that are no list", text({ actor: '{"id":"a","roles":"operator"}' }), "invalid_request", "/actor/roles"],
  [
    "one role too many",
    text({ actor: `{"id":"a","roles":[${Array(65).fill('"r"').join(",")}]}` }),
    "invalid_request",
    "/actor/roles",
  ],
  [
    "delegation one too deep",
    text({
      actor:
        '{"id":"a","on_behalf_of":{"id":"b","on_behalf_of":{"id":"c","on_behalf_of":{"id":"d","on_behalf_of":{"id":"e","on_behalf_of":{"id":"f"}}}}}}',
    }),
    "invalid_request",
  ],
  ["a wish for a permit that is no boolean", text({ permit: '"yes"' }), "invalid_request", "/permit"],
];

describe("POST /v1/decisions refuses", () => {
  test.each(REFUSED)("%s", async (_, body, code = "", pointer = undefined) => {
    const size = holdpoint.sidecar.ledger.head().size;
    expectRefusal(await holdpoint.send({ path: "/v1/decisions", body }), { code, pointer });
    expect(holdpoint.sidecar.ledger.head().size).toBe(size);
  });

  test.each(REFUSED)("%s in a batch, in its place", async (_, body, code) => {
    const batch = `{"proposals":[${text({})},${body}]}`;
    const answer = await holdpoint.send({ path: "/v1/decisions/batch", body: batch });
    const problem = answer.status === 200 ? answer.body.decisions[1] : answer.body;
    expect(problem.outcome).toBe("deny");
    // Where the text itself is broken it is the batch that is broken, and the code may be that of the break it makes.
    if (answer.status === 200) expect(problem.code).toBe(code);
    else expect(answer.status).toBe(400);
  });

  test("ill-formed UTF-8", async () => {
    const bytes = Buffer.from(text({ context: '{"a":"?"}' }));
    bytes[bytes.indexOf("?")] = 0xff;
    expectRefusal(await holdpoint.send({ path: "/v1/decisions", body: bytes }), { code: "ill_formed_unicode" });
  });

  test("a body one byte past the limit, and takes one at it", async () => {
    const padded = (bytes: number) => {
      const body = text({ action: '{"name":"fs.read_file","arguments":{"path":"/tmp/a"}}', context: '{"pad":"@"}' });
      return body.replace("@", "x".repeat(bytes - Buffer.byteLength(body) + 1));
    };
    expect((await holdpoint.send({ path: "/v1/decisions", body: padded(262_144) })).status).toBe(200);
    const refused = await holdpoint.send({ path: "/v1/decisions", body: padded(262_145) });
    expectRefusal(refused, { status: 413, code: "body_too_large" });
  });

  test("a body past the limit that does not say how long it is", async () => {
    const body = `{"id":"${"x".repeat(300_000)}"}`;
    const answer = await holdpoint.send({ path: "/v1/decisions", body, headers: { "transfer-encoding": "chunked" } });
    expectRefusal(answer, { status: 413, code: "body_too_large" });
  });

  test.each([
    [{ "content-type": "text/plain" }, "wrong_content_type"],
    [{ "content-type": "application/x-www-form-urlencoded" }, "wrong_content_type"],
    [{ "content-type": "application/json; charset=utf-16" }, "wrong_content_type"],
    [{ "content-type": "application/jsonp" }, "wrong_content_type"],
    [{ "content-encoding": "gzip" }, "wrong_content_encoding"],
  ])("the headers %j", async (headers, code) => {
    expectRefusal(await holdpoint.send({ path: "/v1/decisions", body: text({}), headers }), { status: 415, code });
  });

  test.each([
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    "application/vnd.x+json",
    'application/json;charset="UTF-8"',
  ])("nothing about the content type %s", async (type) => {
    const answer = await holdpoint.send({ path: "/v1/decisions", body: text({}), headers: { "content-type": type } });
    expect(answer.status).toBe(200);
  });

  test.each([
    ["GET", "/v1/decisions", 405, "method_not_allowed"],
    ["PUT", "/v1/decisions", 405, "method_not_allowed"],
    ["POST", "/v1/decisions/", 404, "route_not_found"],
    ["POST", "/V1/decisions", 404, "route_not_found"],
    ["POST", "/v1/decisions/x", 404, "route_not_found"],
    ["POST", "/v1/decisions/%ff", 404, "route_not_found"],
    ["DELETE", "/v1/permits/consume", 405, "method_not_allowed"],
  ])("%s %s", async (method, path, status, code) => {
    const answer = await holdpoint.send({ method, path, ...(method === "POST" ? { body: text({}) } : {}) });
    expect(answer.status).toBe(status);
    expect(answer.body.code).toBe(code);
    if (path.startsWith("/v1/")) expect(answer.body.outcome).toBe("deny");
  });
});

const ODD: readonly (readonly [name: string, args: string])[] = [
  ["a key named __proto__", '{"__proto__":{"path":"/prod/x"},"path":"/tmp/a","content":"x"}'],
  ["a key named constructor", '{"constructor":{"prototype":{}},"path":"/tmp/a","content":"x"}'],
  ["a key named toJSON", '{"toJSON":"x","path":"/tmp/a","content":"x"}'],
  ["a key named hasOwnProperty", '{"hasOwnProperty":null,"path":"/tmp/a","content":"x"}'],
  ["an empty key", '{"":"","path":"/tmp/a","content":"x"}'],
  ["empty strings and nulls", '{"path":"","content":null}'],
  ["an array of ten thousand", `{"path":"/tmp/a","content":"x","list":[${Array(10_000).fill(1).join(",")}]}`],
  ["an exact large number", '{"path":"/tmp/a","content":"x","n":6.022e23}'],
  [
    "emoji and right-to-left text",
    '{"path":"/tmp/\u{1f600}","content":"\u05e9\u05dc\u05d5\u05dd \u202e abc \u{1f468}\u200d\u{1f469}"}',
  ],
  ["noncharacters", '{"path":"/tmp/a","content":"\uffff\ufdd0"}'],
  ["escaped controls", '{"path":"/tmp/a","content":"\\u0000\\u001f\\u007f"}'],
];

describe("POST /v1/decisions decides", () => {
  test.each(ODD)("%s like anything else", async (_, args) => {
    const { status, body } = await holdpoint.send({
      path: "/v1/decisions",
      body: text({ action: `{"name":"fs.write_file","arguments":${args}}` }),
    });
    expect(status).toBe(200);
    expect(["allow", "deny"]).toContain(body.outcome);
    expect(body.output_hash).toMatch(/^sha256:/);
  });

  test.each([
    "__proto__",
    "constructor",
    "toJSON",
    "hasOwnProperty",
    "\u{1f600}",
    "\u05e9\u05dc\u05d5\u05dd",
    "a/b:c@d#e",
    "x".repeat(256),
  ])("the action %s, which nothing governs, to deny", async (name) => {
    const { status, body } = await holdpoint.decide(writeFile("/tmp/a", { action: { name, arguments: {} } }));
    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "unknown_action" }] });
  });

  test("two texts that mean the same to one digest, and others to others", async () => {
    const digestOf = async (args: string) =>
      (await holdpoint.send({ path: "/v1/decisions", body: text({ action: `{"name":"x","arguments":${args}}` }) })).body
        .argument_digest;
    const same = await Promise.all(
      ['{"a":1,"b":"\\u00e9"}', '{"b":"é","a":1.0}', ' { "b" : "\\u00E9" , "a":10e-1 } '].map(digestOf),
    );
    expect(new Set(same).size).toBe(1);
    const different = await Promise.all(
      [
        '{"a":1}',
        '{"a":"1"}',
        '{"a":[1]}',
        '{"a":true}',
        '{"A":1}',
        '{"a":1,"__proto__":null}',
        '{"a":1,"toJSON":1}',
        '{"toJSON":1,"a":1,"b":2}',
        '{"a":"e\u0301"}',
        '{"a":"\u00e9"}',
      ].map(digestOf),
    );
    expect(new Set(different).size).toBe(10);
  });

  test("nesting at the limit", async () => {
    const { status } = await holdpoint.send({ path: "/v1/decisions", body: text({ context: nested(62) }) });
    expect(status).toBe(200);
  });

  test("ids and names at their longest", async () => {
    const id = `${freshId()}-`.padEnd(256, "x");
    expect((await holdpoint.decide(writeFile("/tmp/a", { id }))).body.outcome).toBe("allow");
  });
});

describe("other doors", () => {
  const permitBody = (changes: Body = {}) => ({
    permit: "x",
    action: { name: "a", arguments: {} },
    actor: { id: "a" },
    ...changes,
  });

  test.each([
    ["/v1/permits/consume", '{"permit":1}', "invalid_request", "/permit"],
    ["/v1/permits/consume", JSON.stringify(permitBody({ permit: "" })), "invalid_request", "/permit"],
    [
      "/v1/permits/consume",
      JSON.stringify(permitBody({ binding_digest: "sha256:0" })),
      "invalid_request",
      "/binding_digest",
    ],
    ["/v1/permits/verify", '{"permit":"x","permit":"y"}', "duplicate_key", "/permit"],
    [
      "/v1/permits/verify",
      JSON.stringify(permitBody({ action: { name: "a", arguments: [] } })),
      "invalid_request",
      "/action/arguments",
    ],
    ["/v1/executions", "{}", "invalid_request", "/permit_id"],
    ["/v1/executions", '{"permit_id":"p","status":"done"}', "invalid_request", "/status"],
    ["/v1/executions", '{"permit_id":"p","status":"failed","result":1e999}', "inexact_number", "/result"],
    ["/v1/decisions/batch", '{"proposals":[]}', "invalid_request", "/proposals"],
    ["/v1/decisions/batch", '{"proposals":{}}', "invalid_request", "/proposals"],
    ["/v1/decisions/batch", "{}", "invalid_request", "/proposals"],
  ])("POST %s refuses %s", async (path, body, code, pointer) => {
    expectRefusal(await holdpoint.send({ path, body }), { code, pointer });
  });

  test.each([
    "{",
    '{"reason":1}',
    '{"a":1,"a":2}',
    '{"reason":"x","outcome":"granted"}',
    `{"reason":"${"x".repeat(2001)}"}`,
  ])("a reviewer's act refuses %s", async (body) => {
    const { body: held } = await holdpoint.decide(refund(800));
    const answer = await holdpoint.send({
      port: "admin",
      path: `/v1/approvals/${held.approval.id}/grant`,
      body,
      key: KEYS.olivia,
    });
    expect(answer.status).toBe(400);
  });

  test.each([
    "appr_{x}",
    "appr_00%7Bx%7D",
    "..%2f..%2fetc",
    "appr_00%00",
    "%F0%9F%98%80",
    "x".repeat(5_000),
    "appr_ff00000000000000000000000000",
  ])("an approval id %s is unknown", async (id) => {
    const answer = await holdpoint.send({ port: "admin", path: `/v1/approvals/${id}`, key: KEYS.olivia });
    expect(answer.status).toBe(404);
    expect(answer.body.code).toBe("approval_not_found");
  });

  test.each([
    "/v1/approvals?status=open",
    "/v1/approvals?limit=0",
    "/v1/approvals?limit=101",
    "/v1/approvals?limit=1&limit=2",
    "/v1/approvals?cursor=%7B",
    "/v1/ledger/entries?start=-1",
    "/v1/ledger/entries?limit=1001",
    "/v1/executions?status=done",
  ])("GET %s is refused", async (path) => {
    const answer = await holdpoint.send({ port: "admin", path, key: KEYS.olivia });
    expect(answer.status).toBe(400);
    expect(answer.body.code).toBe("invalid_request");
  });

  test("bytes that are not HTTP end in a 400 and a closed connection, and the next client is served", async () => {
    const { port } = new URL(holdpoint.decisionUrl);
    const answer = await new Promise<string>((resolve) => {
      let received = "";
      const socket = connect(Number(port), "127.0.0.1", () => socket.write("\u0016\u0003\u0001 nonsense\r\n\r\n"));
      socket.on("data", (chunk) => {
        received += chunk.toString("latin1");
      });
      socket.on("close", () => resolve(received));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400/);
    expect((await holdpoint.decide(writeFile("/tmp/a"))).body.outcome).toBe("allow");
  });
});

describe("observe mode", () => {
  test("refuses what it cannot read without saying deny", async () => {
    const { status, body } = await observing.send({ path: "/v1/decisions", body: '{"a":1,"a":2}' });
    expect(status).toBe(400);
    expect(body).toMatchObject({ code: "duplicate_key", outcome: "allow", mode: "observe", enforced: false });
  });
});
