import { describe, expect, it } from "vitest";
import { ConfigError } from "../../src/core/errors.ts";
import { openStore } from "../../src/store/open-store.ts";
import { isRedisUrl, parseRedisUrl } from "../../src/store/redis/parse-redis-url.ts";

describe("parseRedisUrl()", () => {
  const host = (name: string, port = 6379) => ({ host: name, port });
  const cases: [string, object][] = [
    ["redis://localhost", { kind: "standalone", hosts: [host("localhost")], db: 0, hasTls: false, waitReplicas: 0 }],
    ["redis://h:7000/3", { hosts: [host("h", 7000)], db: 3 }],
    ["rediss://user:p%40ss@h/", { hasTls: true, username: "user", password: "p@ss", db: 0 }],
    [
      "redis://:secret:x@[::1]:6380?db=2&waitReplicas=2&waitMs=50",
      { password: "secret:x", hosts: [host("::1", 6380)], db: 2, waitReplicas: 2, waitMs: 50 },
    ],
    ["redis+unix:///run/redis.sock?db=1", { kind: "unix", name: "/run/redis.sock", hosts: [], db: 1 }],
    [
      "redis+sentinel://a,b:1,c:2/main?tls=true&sentinelPassword=s",
      {
        kind: "sentinel",
        name: "main",
        hosts: [host("a", 26379), host("b", 1), host("c", 2)],
        hasTls: true,
        sentinelPassword: "s",
        waitReplicas: 1,
      },
    ],
    [
      "redis+cluster://u:p@a:1,b:2?waitReplicas=0",
      { kind: "cluster", hosts: [host("a", 1), host("b", 2)], username: "u", waitReplicas: 0 },
    ],
  ];
  for (const [url, address] of cases) it(`reads ${url}`, () => expect(parseRedisUrl(url)).toMatchObject(address));

  const refused = [
    "",
    "redis:/h",
    "http://h",
    "redis://",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:x",
    "redis://h/x",
    "redis://h?unknown=1",
    "redis://h?waitReplicas=-1",
    "redis://h?tls=yes",
    "redis://a b",
    "redis://u:%zz@h",
    "redis+sentinel://h",
    "redis+sentinel://h/a/b",
    "redis+cluster://h/0x",
    "redis+cluster://h?db=1",
    "redis+unix://host/path",
    "redis+unix://",
  ];
  for (const url of refused) {
    it(`refuses ${JSON.stringify(url)}`, () => expect(() => parseRedisUrl(url)).toThrow(ConfigError));
  }

  it("keeps the password out of its message", () => {
    expect(() => parseRedisUrl("redis://u:hunter2@h:x")).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining("hunter2") }),
    );
  });

  it("is not asked about other addresses", async () => {
    expect(["redis://h", "embedded", "", "postgres://h"].map(isRedisUrl)).toEqual([true, false, false, false]);
    await expect(openStore({ url: "postgres://h", dataDir: "" })).rejects.toBeInstanceOf(ConfigError);
  });
});
